"""Asyncio tasks for attempts: one runs many in turn, until one of them has to wait.

A task for each attempt costs more than a small step itself. An attempt that never waits leaves nothing behind but
its context, so it has a context of its own; one that waits keeps the task to itself.
"""

from __future__ import annotations

import asyncio
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any

Work = Coroutine[Any, Any, None]


class Crew:
    """``failed`` is told of an exception that no attempt has caught."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed
        self._due: deque[Work] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._taker: asyncio.Task[None] | None = None

    def run(self, work: Work) -> None:
        """Run it, in the order of these calls, as soon as the loop turns."""
        self._due.append(work)
        if self._taker is None:
            self._hire()

    async def rest(self, timeout: float) -> None:
        """Wait until all has ended, for so many seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._tasks:
                    await asyncio.wait(self._tasks)

    def leave(self) -> None:
        """Cancel what is left."""
        while self._due:
            self._due.popleft().close()
        for task in self._tasks:
            task.cancel()

    def _hire(self) -> None:
        # A plain task, the crew's to end: a task group's costs three times as much.
        self._taker = asyncio.get_running_loop().create_task(self._take())
        self._tasks.add(self._taker)
        self._taker.add_done_callback(self._left)

    async def _take(self) -> None:
        task = asyncio.current_task()
        while self._due:
            await self._step_through(self._due.popleft(), copy_context())
            if task is not self._taker:
                return
            if task is None or task.cancelling() or getattr(task, "_must_cancel", False):
                # It has cancelled itself and has not noticed yet. The next one is not to pay for it.
                break
        self._hand_on()

    @types.coroutine
    def _step_through(self, work: Work, context: Context) -> Generator[Any, Any, None]:
        """Run it in its context. When it waits for the first time, another task takes what is due."""
        task = self._taker
        advance, given = work.send, None
        while True:
            try:
                awaited = context.run(advance, given)
            except StopIteration:
                return
            if task is self._taker:
                self._hand_on()
            try:
                given = yield awaited
                advance = work.send
            except BaseException as error:
                given, advance = error, work.throw

    def _hand_on(self) -> None:
        self._taker = None
        if self._due:
            self._hire()

    def _left(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task is self._taker:
            self._hand_on()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failed(error)
