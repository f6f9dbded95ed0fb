"""How a run's code is told to stop: once, and anew where it has caught that and gone on.

It gets CancelledError where it waits, and may clean up for as long as that takes. A task that holds on to its
CancelledError - in ``except``, ``finally`` or the end of a block, or in a variable, to raise it later - cleans up; one
that has let go of it and waits has gone on. Whoever asks the run to stop after that is heard. A task that goes on is
told again at once where the run *must* end, and where its own code cannot have heard it: a group of tasks that has
errors raises these instead.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any

from anyio._backends._asyncio import TaskGroup

from flowbook.core import events as e
from flowbook.runtime import outcomes

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution
    from flowbook.runtime.scheduled import Task

PATIENCE = 100
"""How often code that is told again at once may go on. Then it is dropped, and what it owes is taken back."""

_GROUPS = {asyncio.TaskGroup.__aexit__.__code__: "_errors", TaskGroup.__aexit__.__code__: "_exceptions"}
"""Those who may swallow a cancellation, and where they keep what they raise instead."""

Errors = list[BaseException]


class Stopping:
    """One run's requests to stop, and what became of them.

    ``request`` is the last one that the code was told, ``error`` a failure because of which it must end.
    """

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self.request: e.CancelRequested | None = None
        self.error: Exception | None = None
        self._time_is_up: e.CancelRequested | None = None
        self._reached: dict[Task, _Reached] = {}
        self._repeated = 0

    def ask(self, request: e.CancelRequested) -> None:
        """Somebody asks the run to stop. Tasks that clean up know it already."""
        if request.cause == "timeout":
            self._time_is_up = request
        if self._tell():
            self.request = request

    def fail(self, error: Exception) -> None:
        """The run has failed, whatever its code still does."""
        self.error = self.error or error
        self._tell()

    def outcome(self) -> e.RunFailed | e.RunCancelled:
        """How a run ends that was told to stop."""
        if self.error is not None:
            return outcomes.failed(self.error, self._execution.places)
        assert self.request is not None
        return outcomes.stopped(self.request)

    @property
    def unheard(self) -> e.CancelRequested | None:
        """The request that the workflow's code had no chance to hear before it ended."""
        main = self._execution.main
        lost = main is not None and main in self._reached and self._reached[main].was_lost
        return self.request if lost else None

    def settle(self) -> bool:
        """Every task waits for something: tell those that are to be told again; True where there are any."""
        self._execution.loop.on_cancel = None
        if not self._reached or self._execution.end.has_come or not self._tell(at_once=True):
            return False
        self.request = self._time_is_up or self.request
        self._repeated += 1
        if self._repeated == PATIENCE:
            self._execution.end.give_up()
        return True

    def _tell(self, *, at_once: bool = False) -> bool:
        """Cancel the main task; later on, tasks that an earlier cancellation reached, and that have gone on."""
        main = self._execution.main
        if main is None or main.done():
            return False
        every = not at_once or self._time_is_up is not None or self.error is not None
        reached = [task for task, was in self._reached.items() if (every or was.was_lost) and was.has_gone_on(task)]
        tasks = reached if self._reached else [main]
        # Those it passes on to are reached as well, and whoever is cancelled because of that.
        self._execution.loop.on_cancel = self._reach
        for task in tasks:
            task.cancel()
        return bool(tasks)

    def _reach(self, task: Task) -> None:
        self._reached[task] = _Reached(task)


class _Reached:
    """Where a task was when it was cancelled: what it waited for, and the errors of the groups it was leaving."""

    def __init__(self, task: Task) -> None:
        self._waiter = _waits_for(task)
        self._errors = _groups_left(task)

    def has_gone_on(self, task: Task) -> bool:
        """True where it has caught the cancellation, and waits again, not only for the rest of a group."""
        if task.done() or _waits_for(task) is self._waiter:
            return False
        return not _holds_cancellation(task) and not _groups_left(task)

    @property
    def was_lost(self) -> bool:
        """True where a group raised its errors instead."""
        return any(self._errors)


def _waits_for(task: Task) -> asyncio.Future[Any] | None:
    waiter: asyncio.Future[Any] | None = task._fut_waiter  # type: ignore[attr-defined]
    return waiter


def _groups_left(task: Task) -> list[Errors]:
    """The errors, so far, of the groups of tasks that a suspended task is leaving: it waits for those to end."""
    frames = (frame for awaited in _chain(task.get_coro()) if (frame := getattr(awaited, "cr_frame", None)) is not None)
    return [getattr(frame.f_locals["self"], _GROUPS[frame.f_code]) for frame in frames if frame.f_code in _GROUPS]


def _holds_cancellation(task: Task) -> bool:
    """True where a suspended task handles a CancelledError, or keeps one."""
    # No attribute of a coroutine tells what it is handling; but it holds on to that like to its variables.
    held = (found for awaited in _chain(task.get_coro()) for found in gc.get_referents(awaited))
    return any(isinstance(found, asyncio.CancelledError) for found in held)


def _chain(awaited: Any) -> Iterator[Any]:
    """A suspended coroutine, and what it awaits, outermost first, down to a future."""
    while awaited is not None and not isinstance(awaited, asyncio.Future):
        yield awaited
        awaited = _inside(awaited)


def _inside(awaited: Any) -> Any:
    """What it awaits itself; of a wrapper, as the steps of asynchronous generators are, what it wraps."""
    for name in ("cr_await", "gi_yieldfrom", "ag_await"):
        if hasattr(awaited, name):
            return getattr(awaited, name)
    wrapped = (Coroutine, Generator, AsyncGenerator)
    return next((found for found in gc.get_referents(awaited) if isinstance(found, wrapped)), None)
