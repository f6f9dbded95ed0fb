"""The engine's clock, the only one that decides anything, and the only place where the engine draws ids."""

from __future__ import annotations

import secrets
import time
from typing import Protocol

from flowbook.core.duration import spoken

NOTICED = 1.0
"""Seconds by which the machine's clock has to be behind before it is said."""


class Clock(Protocol):
    """Unix seconds."""

    @property
    def notice(self) -> str:
        """What people should know about the time, "" for nothing."""

    def now(self) -> float:
        """The time. Never earlier than it said before."""


class SystemClock:
    """The machine's clock. Where that is set back, this one goes on from where it was, so that timers go on too."""

    def __init__(self) -> None:
        self._last = 0.0
        self._steady = time.monotonic()

    @property
    def notice(self) -> str:
        """See ``Clock``."""
        behind = self.now() - time.time()
        if behind < NOTICED:
            return ""
        return (
            f"the machine's clock was set back: it is {spoken(behind)} behind the engine's, which goes on without it, "
            "so what is due happens after the right time, and is recorded with the engine's. An engine that is started "
            "again takes the machine's time."
        )

    def now(self) -> float:
        """See ``Clock``."""
        wall, steady = time.time(), time.monotonic()
        # The difference first: it is exact, and added to the time it never takes anything away.
        self._last = wall if wall >= self._last else self._last + (steady - self._steady)
        self._steady = steady
        return self._last


class Leases:
    """Names for claims on runs, never given out twice, not even by the next engine."""

    def __init__(self) -> None:
        self._epoch = secrets.token_hex(4)
        self._count = 0

    def draw(self) -> str:
        """A new lease."""
        self._count += 1
        return f"{self._epoch}-{self._count}"
