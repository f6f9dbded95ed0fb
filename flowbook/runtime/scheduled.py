"""What a run's loop schedules: callbacks, timers, tasks and futures, with what sets and logs need to tell them apart.

When they run is the loop's to say.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowbook.runtime.loop import DeterministicLoop, Host


class Handle(asyncio.Handle):
    """A ready callback. Slimmer than asyncio's: no debug information."""

    __slots__ = ()

    def __init__(self, callback: Any, args: Any, loop: Any, context: contextvars.Context | None) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._callback = callback
        self._args = args
        self._loop = loop
        self._cancelled = False
        self._repr = None
        self._source_traceback = None

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = None
        self._args = ()


class Redelivery(Handle):
    """anyio's cancelling anew."""

    __slots__ = ()


class Timer(asyncio.TimerHandle):
    """A callback with a time; cancelling it tells the host."""

    __slots__ = ("host", "key", "site")

    def __init__(self, when: float, callback: Any, args: Any, loop: Any, context: Any, host: Host) -> None:
        super().__init__(when, callback, args, loop, context)
        self.host = host
        self.key = ""
        self.site = 0

    def cancel(self) -> None:
        if not self._cancelled:
            super().cancel()
            self.host.timer_dropped(self)


class Task(asyncio.Task):  # type: ignore[type-arg]
    """A task with a place in the tree of tasks.

    Its hash is its creation number in its run, so that the sets inside ``asyncio.wait`` iterate in creation order.
    """

    path: str
    number: int

    def __hash__(self) -> int:
        return self.number

    def cancel(self, msg: Any = None) -> bool:
        loop: DeterministicLoop = self.get_loop()  # type: ignore[assignment]
        if loop.on_cancel is not None:
            loop.on_cancel(self)
        return super().cancel(msg)


class Future(asyncio.Future):  # type: ignore[type-arg]
    """A future of the loop, or of what runs on it, that sets keep in the order in which they met it."""

    number = 0

    def __hash__(self) -> int:
        if not self.number:
            self.number = self.get_loop().next_number()  # type: ignore[attr-defined]
        return self.number
