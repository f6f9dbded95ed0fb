"""What workflow code can wait for, while it waits: a future with an identity, and what is needed to act on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from flowbook.core.ids import Digest, Key
from flowbook.core.value import Value
from flowbook.runtime.scheduled import Future

if TYPE_CHECKING:
    from flowbook.core.events import StepReused
    from flowbook.core.messages import ReportItem
    from flowbook.runtime.definitions import Step
    from flowbook.runtime.scheduled import Timer


class DurableFuture(Future):
    """Cancelling it resolves the await at once; what must be cancelled outside is told to the owner."""

    abandoned: Callable[[], None] | None = None

    def cancel(self, msg: Any = None) -> bool:
        if super().cancel(msg):
            if self.abandoned is not None:
                self.abandoned()
            return True
        return False


class StepCommand(msgspec.Struct, eq=False):
    """A step the code waits for. ``arguments`` and ``keywords`` hold objects or encoded values.

    ``elsewhere`` is the note by which something other than this worker does it; ``what`` says what it is. ``reused`` is
    the result of another run that it was given.
    """

    key: Key
    step: Step[..., Any]
    future: DurableFuture
    digest: Digest
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    item: int | None = None
    site: int = 0
    elsewhere: ReportItem | None = None
    what: str = "step"
    reused: StepReused | None = None


class TimerCommand(msgspec.Struct, eq=False):
    """A timer the loop set."""

    key: Key
    timer: Timer
    label: str = ""


class SignalCommand(msgspec.Struct, eq=False):
    """A wait for a signal."""

    key: Key
    name: str
    future: DurableFuture


class StepCall(msgspec.Struct, frozen=True, eq=False):
    """One attempt for the worker to run, not before ``not_before`` (unix seconds, 0 = now).

    ``details`` is what the attempt before left with its heartbeats. ``again``: a worker may have begun it before, and
    not said so; ``unwanted``: nobody needs its result, but it has to be known how it ends.
    """

    command: StepCommand
    attempt: int
    not_before: float = 0.0
    details: Value | None = None
    again: bool = False
    unwanted: bool = False

    @property
    def key(self) -> Key:
        """The command's key."""
        return self.command.key


class Argument(msgspec.Struct, frozen=True, eq=False):
    """An argument that each attempt decodes for itself, so that no step can change another's."""

    value: Value
