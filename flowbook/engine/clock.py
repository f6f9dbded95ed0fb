"""The engine's clock, the only one that decides anything, and the only place where the engine draws ids."""

from __future__ import annotations

import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """Unix seconds."""

    def now(self) -> float:
        """The time. Never earlier than it said before."""


class SystemClock:
    """The machine's clock, held still while it is set back."""

    def __init__(self) -> None:
        self._last = 0.0

    def now(self) -> float:
        """See ``Clock``."""
        self._last = max(self._last, time.time())
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
