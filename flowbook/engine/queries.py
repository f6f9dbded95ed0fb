"""SQL of clients: a few at a time, in threads of their own, and none for longer than somebody wants the answer.

A thread cannot be cancelled, so a query is interrupted until its thread has noticed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from flowbook.core.duration import spoken
from flowbook.errors import EngineUnavailable, FlowbookError
from flowbook.store.base import Stop

AT_ONCE = 2
"""Queries that run; others wait. The threads of everything else are not theirs to take."""

LONGEST = 60.0
"""Seconds a query may run unless whoever asks gives it more."""

INSIST_EVERY = 0.05

T = TypeVar("T")


class Queries:
    """Runs what reads the database for people."""

    def __init__(self) -> None:
        self._turns = anyio.Semaphore(AT_ONCE)
        self._threads = anyio.CapacityLimiter(AT_ONCE)
        self._leaving = anyio.Event()

    async def run(self, ask: Callable[[Stop], T], timeout: float = LONGEST) -> T:
        """What ``ask`` gives, in a thread.

        It is interrupted when its time is up, when this task is cancelled, and when the engine leaves. Raises UserError
        then.
        """
        async with self._turns:
            if self._leaving.is_set():
                raise EngineUnavailable("the engine is being stopped.")
            stop, done, found, refusal = Stop(), anyio.Event(), [], None
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._end, stop, timeout, done)
                try:
                    found.append(await anyio.to_thread.run_sync(ask, stop, limiter=self._threads))
                except FlowbookError as error:
                    refusal = error
                finally:
                    done.set()
                    tasks.cancel_scope.cancel()
            if refusal is not None:
                raise refusal
            return found[0]

    def leave(self) -> None:
        """End all that run and begin no others."""
        self._leaving.set()

    async def _end(self, stop: Stop, timeout: float, done: anyio.Event) -> None:
        why = "nobody waits for its answer any more"
        try:
            with anyio.move_on_after(timeout) as limit:
                await self._leaving.wait()
            why = "the engine is being stopped"
            if limit.cancelled_caught:
                why = f"it took longer than {spoken(timeout)}; --timeout (in Python: timeout=) gives it more time"
        finally:
            with anyio.CancelScope(shield=True):
                while not done.is_set():
                    stop.ask(why)
                    with anyio.move_on_after(INSIST_EVERY):
                        await done.wait()
