"""When to look at which run: a heap, and a task that sleeps until its top."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import anyio

from flowbook.core.ids import RunId
from flowbook.engine.clock import Clock

LONGEST_SLEEP = 60.0
"""Seconds slept at most, whatever the heap says."""


FEWEST = 1024
"""Times that are kept without asking whether they are still wanted."""


class Timers:
    """Times asked for. One that is no longer wanted does no harm, nothing is due then, but takes room.

    ``is_wanted`` tells such from others: now and then those that are not go.
    """

    def __init__(self, clock: Clock, is_wanted: Callable[[RunId, float], bool] = lambda run, at: True) -> None:
        self._clock = clock
        self._is_wanted = is_wanted
        self._heap: list[tuple[float, RunId]] = []
        self._room = FEWEST
        self._earlier = anyio.Event()

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, at: float, run: RunId) -> None:
        """Look at ``run`` at this time."""
        if not self._heap or at < self._heap[0][0]:
            self._earlier.set()
        heapq.heappush(self._heap, (at, run))
        if len(self._heap) > self._room:
            self._heap = [(at, run) for at, run in self._heap if self._is_wanted(run, at)]
            heapq.heapify(self._heap)
            self._room = max(FEWEST, 2 * len(self._heap))

    def look(self) -> None:
        """Ring what is due already: nobody who sleeps notices that the clock was set forward, or the machine slept."""
        if self._heap and self._heap[0][0] <= self._clock.now():
            self._earlier.set()

    async def run(self, ring: Callable[[RunId, float], None]) -> None:
        """Call ``ring`` for each time that comes, for ever."""
        while True:
            self._earlier = anyio.Event()
            now = self._clock.now()
            while self._heap and self._heap[0][0] <= now:
                at, run = heapq.heappop(self._heap)
                ring(run, at)
            pause = min(self._heap[0][0] - now, LONGEST_SLEEP) if self._heap else LONGEST_SLEEP
            with anyio.move_on_after(max(pause, 0.0)):
                await self._earlier.wait()
