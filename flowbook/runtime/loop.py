"""An asyncio event loop that only moves when it is told: same events, same order, every time.

Ready callbacks run first in, first out; timers are handed to the host, which makes durable events of them;
time is what the host says. Everything that would reach the outside world raises ``NotDeterministic`` and names
what to use instead. Nothing here knows runs, steps or signals.
"""

# The signatures of asyncio's own loops are looser than those of its type stubs.
# mypy: disable-error-code="override"

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import suppress
from math import isnan
from types import MethodType, TracebackType
from typing import Any, NoReturn, Protocol
from weakref import ref

from anyio._backends._asyncio import CancelScope

from flowbook.errors import NotDeterministic
from flowbook.runtime.nested import swap_task
from flowbook.runtime.refused import refuse_all
from flowbook.runtime.scheduled import Future, Handle, Redelivery, Task, Timer

SPIN_LIMIT = 200_000
"""Callbacks in one drain after which the code is taken to spin without ever waiting."""


FEW = 64
"""Tasks up to which those that are done are let go of after each drain; of more, now and then."""

REDELIVERIES, IN_VAIN = 1000, 20
"""How often one drain cancels anew what goes on all the same, and how often in a row where nothing else happens."""

_REDELIVER = CancelScope._deliver_cancellation
"""anyio cancels anew in each turn of the loop, for as long as somebody does not listen. Here time passes with events:
who is deaf to cancellation because of cleaning up is told again, after so many times, at the next one."""


class Host(Protocol):
    """What the loop asks of its owner."""

    def time(self) -> float:
        """Workflow time: the time of the last applied event, in unix seconds."""

    def timer_set(self, timer: Timer) -> None:
        """A callback wants to run at ``timer.when()``."""

    def timer_dropped(self, timer: Timer) -> None:
        """It no longer does."""

    def task_created(self, task: Task) -> str:
        """A task begins; gives its path."""

    def thread_call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> asyncio.Future[Any]:
        """``to_thread`` and ``run_in_executor``: an implicit local step."""

    def generator_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        """An asynchronous generator was left before its end: close it as part of the run."""

    def failed_silently(self, context: dict[str, Any]) -> None:
        """An exception nobody awaited."""


_registered = itertools.count()
"""Hashes under which asyncio notes tasks in its set of all tasks. Runs number theirs alike: with ten thousand runs in
memory each new task would be compared with ten thousand others."""


class DeterministicLoop(asyncio.AbstractEventLoop):
    """The loop of one run. ``drain`` runs everything that is ready and returns; inside ``with`` it is the running one.

    ``attended`` while the run is told something: at any other time nobody may wake its code.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.on_cancel: Callable[[Task], None] | None = None
        self.tasks: list[Task] = []
        self._generators: list[ref[AsyncGenerator[Any, Any]]] = []
        self._forgotten: list[AsyncGenerator[Any, Any]] = []
        self._ready: deque[Handle | Timer] = deque()
        self._again: list[Handle] = []
        self._outer: list[tuple[Any, Any, Any, bool]] = []
        self._created = 0
        self.attended = False
        self._closed = False
        self._draining = False
        self._dropping = False
        self._handler: Any = None

    def __enter__(self) -> None:
        """Be the running loop. What nobody refers to any more is not collected meanwhile: when that happens is
        chance.
        """
        # What ``nested`` does, without a call: this happens with every event.
        outer, task = asyncio._get_running_loop(), None
        if swap_task is not None and outer is not None and outer is not self:
            task = swap_task(outer, None)
        self._outer.append((outer, task, sys.get_asyncgen_hooks(), gc.isenabled()))
        gc.disable()
        asyncio._set_running_loop(self)
        sys.set_asyncgen_hooks(self._generator_begins, self._generator_is_dropped)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outer, task, hooks, collecting = self._outer.pop()
        sys.set_asyncgen_hooks(*hooks)
        asyncio._set_running_loop(outer)
        if task is not None and swap_task is not None:
            swap_task(outer, task)
        if collecting:
            gc.enable()

    def drain(self) -> None:
        """Run ready callbacks until none is left.

        Raises NotDeterministic where the code spins without waiting for anything.
        """
        with self:
            self._draining = True
            try:
                self._run_ready()
                if 1 < len(self.tasks) <= FEW:
                    # A task that failed and that nobody holds is heard of now, and not when there are many.
                    self.unfinished()
            finally:
                self._draining = False

    def _run_ready(self) -> None:
        ready, budget, redeliveries, in_vain = self._ready, SPIN_LIMIT, REDELIVERIES, IN_VAIN
        ready.extend(self._again)
        self._again.clear()
        handle: Handle | Timer | None = None
        while ready:
            handle = ready.popleft()
            if handle._cancelled:
                continue
            if type(handle) is Redelivery:
                redeliveries, in_vain = redeliveries - 1, in_vain - 1
                if redeliveries < 0 or in_vain < 0:
                    self._again.append(handle)
                    continue
            else:
                in_vain = IN_VAIN
            try:
                handle._context.run(handle._callback, *handle._args)  # type: ignore[union-attr]
            except (SystemExit, KeyboardInterrupt) as error:
                # A task has taken note of it; asyncio lets it pass on, to end the process. Here it ends the run.
                if not _is_of_a_task(handle):
                    self._raised(handle, error)
            except (Exception, asyncio.CancelledError, GeneratorExit) as error:
                self._raised(handle, error)
            budget -= 1
            if not budget:
                self._spinning(handle)
        # The traceback of what failed may keep this frame, and with it the task that nobody else holds any more.
        handle = None

    # Asynchronous generators

    def generators(self) -> list[AsyncGenerator[Any, Any]]:
        """Those that have begun and not ended, oldest first."""
        self._generators = [known for known in self._generators if known() is not None]
        return [generator for known in self._generators if (generator := known()) is not None]

    def _generator_begins(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._generators.append(ref(generator))
        if not len(self._generators) % 64:
            self.generators()

    def _generator_is_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Nobody refers to it any more: its clean-up code runs as part of the run, or not at all where that leaves."""
        if self._closed or self._dropping:
            self._end_generator(generator)
        elif self._draining:
            self.host.generator_dropped(generator)
        else:
            # Found by a garbage collection, whenever that was: it is closed at the end of the run.
            self._forgotten.append(generator)
            self._generators.append(ref(generator))

    def _end_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        """End it where it stands: its clean-up code runs as far as it awaits nothing."""
        closing = generator.aclose()
        with self, suppress(BaseException):
            closing.send(None)
        closing.close()

    def fire(self, timer: Timer) -> None:
        """The timer's time has come."""
        if not timer._cancelled:
            self._ready.append(timer)

    def unfinished(self) -> list[Task]:
        """Tasks that are not done, oldest first."""
        self.tasks = [task for task in self.tasks if not task.done()]
        return list(self.tasks)

    def drop(self, task: Task) -> None:
        """End a task where it stands: its clean-up code runs as far as it awaits nothing, and nobody hears of it."""
        self._dropping, before = True, self._dropping
        with self:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            # A group of tasks makes a group of the GeneratorExit that leaves it.
            with suppress(Exception, SystemExit, GeneratorExit, BaseExceptionGroup):
                task.get_coro().close()
        self._dropping = before
        self.tasks = [other for other in self.tasks if other is not task]

    def _raised(self, handle: Handle | Timer, error: BaseException) -> None:
        """A callback failed, as asyncio tells it."""
        self.call_exception_handler(
            {"message": f"Exception in callback {handle!r}", "exception": error, "handle": handle}
        )

    def _spinning(self, handle: asyncio.Handle) -> NoReturn:
        current = next((task for task in reversed(self.tasks) if not task.done()), None)
        what = repr(getattr(handle, "_callback", None))
        self._ready.clear()
        raise NotDeterministic(
            f"the workflow ran {SPIN_LIMIT} callbacks without waiting for a step, a timer or a signal "
            f"(last: {what}{f' in {current.path}' if current else ''}). "
            "Replace a loop around sleep(0) by an Event, a signal or a timer"
        )

    # Callbacks and time

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Handle:
        if not self.attended:
            self._refuse_waking()
        is_again = type(callback) is MethodType and callback.__func__ is _REDELIVER
        handle = (Redelivery if is_again else Handle)(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _refuse_waking(self) -> NoReturn:
        raise NotDeterministic(
            "something of a workflow (an event, a queue, a future) was changed by code that is no part of it, which "
            "re-execution would not do again; return a value from the step, or send the run a signal"
        )

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Handle:
        if asyncio._get_running_loop() is not self:
            raise NotDeterministic(
                "call_soon_threadsafe() from another thread cannot be re-executed; send a signal to the run instead"
            )
        return self.call_soon(callback, *args, context=context)

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        if isnan(delay):
            raise ValueError("a delay must be a number, not NaN")
        if delay <= 0:
            return self.call_soon(callback, *args, context=context)
        return self._timer(self.host.time() + delay, callback, args, context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        if isnan(when):
            raise ValueError("a time must be a number, not NaN")
        if when <= self.host.time():
            return self.call_soon(callback, *args, context=context)
        return self._timer(when, callback, args, context)

    def _timer(self, when: float, callback: Any, args: Any, context: Any) -> Timer:
        timer = Timer(when, callback, args, self, context, self.host)
        self.host.timer_set(timer)
        return timer

    def time(self) -> float:
        return self.host.time()

    def _timer_handle_cancelled(self, handle: Any) -> None:
        return None

    # Futures and tasks

    def create_future(self) -> asyncio.Future[Any]:
        return Future(loop=self)

    def next_number(self) -> int:
        """The next number of what is created or met: by these, sets keep their order."""
        self._created += 1
        return self._created

    def create_task(self, coro: Generator[Any, None, Any] | Coroutine[Any, Any, Any], **options: Any) -> Any:
        """A task. One that ``is_hidden`` is not among ``asyncio.all_tasks()``, which a workflow may cancel."""
        named = options.pop("name", None)
        # An eager task would run before it has a place among the tasks.
        options.pop("eager_start", None)
        is_hidden = options.pop("is_hidden", False)
        task = Task.__new__(Task)
        number = self.next_number()
        task.number = next(_registered)
        try:
            task.path = self.host.task_created(task)
        except GeneratorExit:
            coro.close()
            raise
        task.__init__(coro, loop=self, name=named or task.path or "main", **options)  # type: ignore[misc]
        if is_hidden:
            asyncio.tasks._unregister_task(task)
        task.number = number
        self.tasks.append(task)
        if len(self.tasks) > FEW and not number % FEW:
            self.unfinished()
        return task

    def get_task_factory(self) -> Any:
        return None

    # State

    def is_running(self) -> bool:
        return self._draining

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """End every coroutine where it stands. Its clean-up code finds this loop, which gives it nothing."""
        self._closed = self.attended = True
        self._ready.clear()
        self._again.clear()
        for task in reversed(self.unfinished()):
            self.drop(task)
        for generator in self.generators():
            self._end_generator(generator)

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        return None

    def set_exception_handler(self, handler: Any) -> None:
        self._handler = handler

    def get_exception_handler(self) -> Any:
        return self._handler

    def default_exception_handler(self, context: Any) -> None:
        self.host.failed_silently(context)

    def call_exception_handler(self, context: Any) -> None:
        if self._handler is not None:
            self._handler(self, context)
        else:
            self.default_exception_handler(context)

    async def shutdown_asyncgens(self) -> None:
        return None

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        return None

    # Threads become steps

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        return self.host.thread_call(func, args)

    def set_default_executor(self, executor: Any) -> None:
        return None


def _is_of_a_task(handle: Handle | Timer) -> bool:
    """True for a step of a task: what it raises, its task holds."""
    return isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)  # type: ignore[union-attr]


refuse_all(DeterministicLoop)
