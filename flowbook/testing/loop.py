"""An asyncio event loop whose time is a number: when nothing is ready, it jumps to the next timer.

It knows no sockets, no threads, no engine. The same callbacks in the same order give the same history.
"""

# The signatures of asyncio's own loops are looser than those of its type stubs.
# mypy: disable-error-code="override"

from __future__ import annotations

import asyncio
import heapq
import itertools
import sys
import threading
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any

from flowbook.runtime import nested

NEVER = 5 * 365 * 86400.0
"""A timer further away than this many seconds keeps nobody waiting."""

PATIENCE = 2.5
"""Seconds that periodic work goes on for after the last thing that was not periodic."""

SPIN_LIMIT = 1_000_000
"""Turns without anything new to wait for, after which something is taken to poll for ever."""

PERIODIC = {
    "flowbook.worker.session.Session._tend",
    "flowbook.engine.answers.Answers._carefully",
    "flowbook.engine.engine.Engine.keep_up",
    "flowbook.engine.fleet.Fleet.keep_watch",
    "flowbook.engine.host.Host._drain",
    "flowbook.engine.host.Host._keep_watch",
}
"""Names of the tasks whose timers are no reason for time to pass: they come again and again."""


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop on a clock of its own. ``now`` is in unix seconds.

    Timers of ``PERIODIC`` tasks move the clock only for ``patience`` seconds after the last other timer; where there is
    no other, the loop is *quiet*. One that was skipped runs once, late, as in a process that was stopped for a while.
    """

    _ready: deque[asyncio.Handle]
    _asyncgen_firstiter_hook: Any
    _asyncgen_finalizer_hook: Any
    _thread_id: int | None

    def __init__(self, now: float) -> None:
        super().__init__()
        self.now = now
        self.patience = PATIENCE
        self.spin_limit = SPIN_LIMIT
        self.errors: list[BaseException] = []
        self._active = now
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._periodic: list[tuple[float, int, asyncio.TimerHandle]] = []
        self.set_exception_handler(self._failed)

    # Driving

    def drive(self, done: Callable[[], bool], until: float = inf) -> bool:
        """Run until ``done()``, or until the loop is quiet or would pass ``until``; True when it is done."""
        outer, hooks = nested.enter(self), sys.get_asyncgen_hooks()
        self._thread_id = threading.get_ident()
        sys.set_asyncgen_hooks(self._asyncgen_firstiter_hook, self._asyncgen_finalizer_hook)
        spins = self.spin_limit
        try:
            while not done():
                if not self._ready and not self._move(until):
                    return False
                self._run_ready()
                spins -= 1
                if not spins:
                    waiting = ", ".join(sorted({task.get_name() for task in asyncio.all_tasks(self)}))
                    raise RuntimeError(f"the clock was moved {self.spin_limit} times with no end in sight; {waiting}")
            return True
        finally:
            nested.leave(outer)
            self._thread_id = None
            sys.set_asyncgen_hooks(*hooks)

    def _run_ready(self) -> None:
        ready = self._ready
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _move(self, until: float) -> bool:
        """Go to the next time at which something happens; False when there is none up to ``until``."""
        due, periodic = _top(self._timers), _top(self._periodic)
        in_passing = periodic <= due and periodic <= self._active + self.patience
        due = periodic if in_passing else due
        if due > until or due == inf:
            if until != inf:
                self.now = max(self.now, until)
            return False
        if _top(self._timers) <= due:
            self._active = max(self._active, due)
        self.now = max(self.now, due)
        found = []
        for heap in (self._timers, self._periodic):
            while heap and heap[0][0] <= self.now:
                found.append(heapq.heappop(heap))
        found.sort()
        self._ready.extend(handle for _, _, handle in found)
        return True

    # What asyncio asks

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        task = asyncio.current_task(self)
        periodic = when - self.now > NEVER or (task is not None and task.get_name() in PERIODIC)
        heapq.heappush(self._periodic if periodic else self._timers, (when, next(self._numbers), handle))
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_in_passing(self, when: float, callback: Any, *args: Any, context: Any = None) -> None:
        """Like ``call_at``, for what comes again and again."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._periodic, (when, next(self._numbers), handle))

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        return None

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None:
            error = RuntimeError(context.get("message", "a callback failed"))
        if not isinstance(error, asyncio.CancelledError | GeneratorExit):
            self.errors.append(error)


def _top(heap: list[tuple[float, int, asyncio.TimerHandle]]) -> float:
    while heap and heap[0][2].cancelled():
        heapq.heappop(heap)
    return heap[0][0] if heap else inf
