"""All runs that a worker holds: which there are, what they tell while they are at work, and when they are let go."""

from __future__ import annotations

import time
from collections.abc import Iterator

from flowbook.core.ids import RunId, Seq
from flowbook.worker.attempts import Attempt
from flowbook.worker.held import HeldRun
from flowbook.worker.outbox import Outbox
from flowbook.worker.reclaiming import Reclaimer

ANNOUNCE_AFTER = 0.005
"""Seconds an attempt runs before its start is worth an event of its own."""

KEEP_IDLE = 5.0
"""Seconds an idle run stays in memory, so that the next signal finds it there."""

KEEP_COUNT = 100
"""Idle runs kept in memory at most."""


class Holding:
    """The ``runs`` of one worker, by id. ``keep`` is how many seconds an idle one stays."""

    def __init__(self, outbox: Outbox, reclaimer: Reclaimer, keep: float = KEEP_IDLE) -> None:
        self._outbox = outbox
        self._reclaimer = reclaimer
        self._keep = keep
        self.runs: dict[RunId, HeldRun] = {}
        self._draining = False

    @property
    def seen(self) -> dict[RunId, Seq]:
        """The last event that each run's code has seen."""
        return {run: held.seq for run, held in self.runs.items()}

    @property
    def attempts(self) -> Iterator[Attempt]:
        """What runs now. Another thread may ask."""
        return (attempt for held in list(self.runs.values()) for attempt in list(held.attempts.values()))

    def add(self, held: HeldRun) -> None:
        """A run was given to this worker, anew where it is held already."""
        self.drop(held.run)
        held.draining = self._draining
        self.runs[held.run] = held

    def drop(self, run: RunId) -> None:
        """A run was given to another worker, or is to be."""
        held = self.runs.pop(run, None)
        if held is not None:
            held.drop()

    def drop_all(self) -> None:
        """The worker leaves."""
        for held in self.runs.values():
            held.drop()
        self.runs.clear()

    def forget(self, held: HeldRun) -> None:
        """The run is over."""
        if self.runs.get(held.run) is held:
            del self.runs[held.run]

    def drain(self) -> None:
        """Nothing new is begun from here on."""
        self._draining = True
        for held in self.runs.values():
            held.draining = True

    def hand_over(self) -> None:
        """Let go of every run that has no step running."""
        for held in list(self.runs.values()):
            packet = held.hand_over()
            if packet is not None:
                del self.runs[held.run]
                self._outbox.send(packet)

    def tend(self, *, is_fifth: bool) -> None:
        """Tell what runs for longer, and let idle runs go. ``is_fifth``: tell progress again."""
        for held in self.runs.values():
            if held.attempts:
                self._announce(held, again=is_fifth)
                held.check_heartbeats()
        self._release_idle()

    def _announce(self, held: HeldRun, *, again: bool) -> None:
        now = time.time()
        for attempt in held.attempts.values():
            if attempt.began is None or now - attempt.began < ANNOUNCE_AFTER:
                continue
            if again or not attempt.announced:
                held.announce(attempt)
                self._outbox.speak(held)
        glimpse = held.glimpse()
        if glimpse is not None:
            self._outbox.send(glimpse)

    def _release_idle(self) -> None:
        now, monotonic = time.time(), time.monotonic()
        idle = [held for held in self.runs.values() if held.releasable(now)]
        excess = len(idle) - KEEP_COUNT
        for index, held in enumerate(sorted(idle, key=lambda held: held.idle_since)):
            if index < excess or monotonic - held.idle_since >= self._keep:
                del self.runs[held.run]
                self._outbox.send(held.release())
                self._reclaimer.dropped()
