"""How a run's code is told to stop: once, and anew where it has caught that and gone on.

It gets CancelledError where it waits, and may clean up for as long as that takes. A task that holds on to its
CancelledError - in ``except``, ``finally`` or the end of a block, or in a variable, to raise it later - cleans up; one
that has let go of it and waits has gone on. Whoever asks the run to stop after that is heard. Where the run *must* end,
a task that goes on is told again, at every one of its awaits.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from flowbook.core import events as e
from flowbook.runtime import outcomes

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution
    from flowbook.runtime.loop import Task

PATIENCE = 100
"""How often code that must end may catch its cancellation and go on. Then it is dropped; what it owes is taken back."""


class Stopping:
    """One run's requests to stop, and what became of them.

    ``request`` is the last one that the code was told, ``error`` a failure because of which it must end.
    """

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self.request: e.CancelRequested | None = None
        self.error: Exception | None = None
        self._time_is_up: e.CancelRequested | None = None
        self._reached: dict[Task, asyncio.Future[Any] | None] = {}
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

    def settle(self) -> bool:
        """Every task waits for something: tell those that must end and have gone on; True where there are any."""
        self._execution.loop.on_cancel = None
        must_end = self._time_is_up is not None or self.error is not None
        if not must_end or self._execution.has_ended or not self._tell():
            return False
        self.request = self._time_is_up or self.request
        self._repeated += 1
        if self._repeated == PATIENCE:
            self._execution.give_up()
        return True

    def _tell(self) -> bool:
        """Cancel the main task; later on, tasks that an earlier cancellation reached, and that have gone on."""
        main = self._execution.main
        if main is None or main.done():
            return False
        tasks = [task for task, waiter in self._reached.items() if _has_gone_on(task, waiter)]
        if not self._reached:
            tasks = [main]
        # Those it passes on to are reached as well, and whoever is cancelled because of that.
        self._execution.loop.on_cancel = self._reach
        for task in tasks:
            task.cancel()
        return bool(tasks)

    def _reach(self, task: Task) -> None:
        self._reached[task] = _waits_for(task)


def _waits_for(task: Task) -> asyncio.Future[Any] | None:
    waiter: asyncio.Future[Any] | None = task._fut_waiter  # type: ignore[attr-defined]
    return waiter


def _has_gone_on(task: Task, waiter: asyncio.Future[Any] | None) -> bool:
    """True where a task that was cancelled while it waited for ``waiter`` has caught that, and waits again."""
    return not task.done() and _waits_for(task) is not waiter and not _holds_cancellation(task.get_coro())


def _holds_cancellation(awaited: Any) -> bool:
    """True where a suspended coroutine, or what it awaits, handles a CancelledError or keeps one."""
    while awaited is not None and not isinstance(awaited, asyncio.Future):
        # No attribute of a coroutine tells what it is handling; but it holds on to that like to its variables.
        held = gc.get_referents(awaited)
        if any(isinstance(found, asyncio.CancelledError) for found in held):
            return True
        awaited = _inside(awaited, held)
    return False


def _inside(awaited: Any, held: list[Any]) -> Any:
    """What it awaits itself; of a wrapper, as the steps of asynchronous generators are, what it wraps."""
    for name in ("cr_await", "gi_yieldfrom", "ag_await"):
        if hasattr(awaited, name):
            return getattr(awaited, name)
    return next((found for found in held if isinstance(found, Coroutine | Generator | AsyncGenerator)), None)
