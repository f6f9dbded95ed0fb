"""What the loop asks of the parts around it. Shapes only; the host puts the parts in their places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flowbook.core.events import AnyEvent
from flowbook.core.ids import Key
from flowbook.engine.runs import LiveRun
from flowbook.store.base import Entry


class Placement(Protocol):
    """Finds a worker for a run."""

    def want(self, run: LiveRun) -> None:
        """Have the run activated: now, or when a worker of its place is there."""


class Queueing(Protocol):
    """Keeps what waits in queues."""

    def note(self, run: LiveRun, event: AnyEvent) -> None:
        """The run's state has taken over this event, which is not durable yet."""

    def take_in(self, run: LiveRun) -> None:
        """The run comes from elsewhere, with all its events: its steps of queues are this engine's from now on."""

    def act(self) -> None:
        """What was noted is durable, or was taken back: the states say which."""

    def offer(self, run: LiveRun, keys: Sequence[Key]) -> None:
        """These steps are due."""


class Publication(Protocol):
    """Tells those who watch."""

    def note(self, entries: Sequence[Entry]) -> None:
        """These events are durable."""
