"""``TestEngine``: durable runs inside a test. Hours pass at once, nothing is left behind, every run is the same.

It is the real engine with a real worker on a virtual clock. Time stands still while your test runs and moves only
inside the calls that wait: ``result()``, ``sleep()``.
"""

from __future__ import annotations

import asyncio
import datetime
import inspect
import itertools
from collections.abc import Callable, Coroutine, Mapping
from math import inf
from random import Random
from types import TracebackType
from typing import Any, TypeVar

from flowbook.client import AsyncClient
from flowbook.client.asks import Ask
from flowbook.core.duration import seconds, time_limit
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, RunId
from flowbook.core.messages import SendSignal, StartRun
from flowbook.core.module import Module
from flowbook.errors import FlowbookError, RunWaits, UserError
from flowbook.runtime import modules
from flowbook.runtime.definitions import Step, Workflow
from flowbook.store.values import ValueFiles
from flowbook.testing.run import TestRun
from flowbook.testing.world import World
from flowbook.wire import calls, codec

T = TypeVar("T")

START = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
_numbers = itertools.count(1)


class TestEngine:
    """An engine for one test; an async context manager, and an ordinary one too.

    ``steps`` puts fakes in the place of steps: a mapping of a step, or its name, to a function. ``now`` is the time it
    begins at (2025-01-01 UTC). ``evict`` drops every run from memory whenever it waits, so that all code is executed
    again from the history all the time: what does not survive that is not deterministic.
    """

    __test__ = False

    def __init__(
        self,
        *,
        steps: Mapping[Any, Callable[..., Any]] | None = None,
        now: datetime.datetime = START,
        evict: bool = False,
        seed: int = 0,
    ) -> None:
        self._fakes = dict(steps or {})
        self._begin = now.timestamp()
        self._evict = evict
        self._seed = seed
        self._restore: list[Callable[[], None]] = []
        self._offered: dict[int, Module] = {}
        self._world: World | None = None

    # Coming and going

    def __enter__(self) -> TestEngine:
        self._world = World(Random(self._seed), self._begin, keep=0.0 if self._evict else 5.0)
        self._files = ValueFiles(self._world.home.folder)
        self._closing = asyncio.Event()
        ready: list[AsyncClient] = []

        async def connected() -> None:
            async with self._world_now.client() as client:
                ready.append(client)
                await self._closing.wait()

        self._holder = self._world.begin(connected())
        self._world.settle()
        self._client = ready[0]
        for step, fake in self._fakes.items():
            if isinstance(step, Step):
                self._replace(step, fake)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for restore in reversed(self._restore):
            restore()
        self._restore.clear()
        for module in self._offered.values():
            modules.withdraw(module.digest)
        world, self._world = self._world, None
        if world is not None:
            self._closing.set()
            world.close()

    async def __aenter__(self) -> TestEngine:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    @property
    def _world_now(self) -> World:
        if self._world is None:
            raise UserError("a TestEngine works inside its block only: write 'async with TestEngine() as env:'")
        return self._world

    # For tests

    async def start(
        self,
        workflow: Workflow[..., T] | Callable[..., Coroutine[Any, Any, T]],
        *args: Any,
        id: str | None = None,
        timeout: float | str | None = None,
        signal: tuple[str, Any] | None = None,
        on_conflict: str = "same",
        on_closed: str = "same",
        **kwargs: Any,
    ) -> TestRun[T]:
        """Start a run, durably, with arguments as the workflow takes them."""
        world = self._world_now
        found = workflow if isinstance(workflow, Workflow) else Workflow(workflow)
        try:
            bound = inspect.signature(found.function).bind(*args, **kwargs)
        except TypeError as error:
            raise UserError(f"{found.name}: {error}; it is {found.name}{inspect.signature(found.function)}") from None
        module = self._module(found)
        self._do(self._client.put_module(module))
        first = (SendSignal(signal[0], self._encode(signal[1], signal[0])),) if signal else ()
        message = StartRun(
            run=RunId(id or f"{found.name}-{next(_numbers)}"),
            workflow=found.name,
            module=module.digest,
            place=world.place,
            arguments={name: self._encode(value, name) for name, value in bound.arguments.items()},
            timeout=time_limit(timeout),
            signals=first,
            on_conflict=on_conflict,
            on_closed=on_closed,
        )
        summary: calls.Summary = self._do(self._client._ask(Ask("start", message, calls.Summary)))
        world.settle()
        return TestRun(self, summary["id"])

    def run(self, id: str) -> TestRun[Any]:
        """The run of this id, for example a child."""
        return TestRun(self, id)

    async def complete(self, token: str, value: Any = None) -> None:
        """Finish the step or promise a token stands for."""
        self._finish(calls.Complete(token, value=self._encode(value, "value")))

    async def fail(self, token: str, message: str, *, retryable: bool = True) -> None:
        """Fail the step or promise a token stands for."""
        self._finish(calls.Complete(token, failure=Failure("FailedOutside", message, retryable=retryable)))

    def _finish(self, call: calls.Complete) -> None:
        self._do(self._client._ask(Ask("complete", call, calls.Summary)))
        self._world_now.settle()

    async def idle(self) -> None:
        """Let everything happen that needs no time."""
        self._world_now.settle()
        self._check()

    async def restart_worker(self) -> None:
        """Kill every worker; the engine notices and starts another."""
        for worker in self._world_now.workers:
            worker.kill()
        await self.idle()

    async def restart_engine(self) -> None:
        """Kill the engine; whoever needs one starts another on the same history."""
        engine = self._world_now.engine
        if engine is not None:
            engine.kill()
        await self.sleep(1.0)

    async def sleep(self, duration: float | str) -> None:
        """Let this much time pass; what is due in it happens."""
        world = self._world_now
        world.settle(world.loop.now + seconds(duration))
        self._check()

    def now(self) -> datetime.datetime:
        """The engine's time, in UTC."""
        return datetime.datetime.fromtimestamp(self._world_now.loop.now, datetime.UTC)

    # Inside

    def _encode(self, value: Any, name: str) -> Any:
        return codec.encode(value, self._files.save, name)

    def _do(self, work: Coroutine[Any, Any, T], waits: Callable[[], str] = lambda: "", until: float = inf) -> T:
        world = self._world_now
        task = world.run(work, until)
        self._check()
        if not task.done():
            task.cancel()
            world.settle()
            raise RunWaits(waits() or "everybody waits for ever: nothing more will happen in this engine")
        return task.result()  # type: ignore[no-any-return]

    def _check(self) -> None:
        errors = self._world_now.loop.errors
        if errors:
            error = errors.pop()
            raise FlowbookError(f"the test engine failed: {type(error).__name__}: {error}") from error

    def _module(self, workflow: Workflow[..., Any]) -> Module:
        module = self._offered.get(id(workflow))
        if module is None:
            function = workflow.function
            inner = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
            around = [*function.__globals__.values(), *inner, workflow]
            for name, fake in self._fakes.items():
                for step in around:
                    if isinstance(step, Step) and step.name == name:
                        self._replace(step, fake)
            number = next(_numbers)
            module = Module(Digest(f"test{number}"), function.__module__, "")
            found = {w.name: w for w in around if isinstance(w, Workflow)}
            modules.offer(module, found, function.__code__.co_filename)
            self._offered[id(workflow)] = module
        return module

    def _replace(self, step: Step[..., Any], fake: Callable[..., Any]) -> None:
        if step.function is fake:
            return
        before, was_async = step.function, step.is_async

        def restore() -> None:
            step.function, step.is_async = before, was_async

        self._restore.append(restore)
        step.function, step.is_async = fake, inspect.iscoroutinefunction(fake)


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
