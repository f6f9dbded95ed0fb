"""Facts about waiting: timers and signals."""

from __future__ import annotations

from flowbook.core.event import Event
from flowbook.core.ids import Digest, Key, RunId
from flowbook.core.value import Value


class TimerStarted(Event, frozen=True, tag=True):
    """The workflow sleeps or set a deadline at ``due`` (unix seconds); ``label`` is for eyes.

    ``owed``: what takes something back waits for it, which goes on when the run is terminated.
    """

    key: Key
    due: float
    label: str = ""
    site: int = 0
    owed: bool = False


class TimerFired(Event, frozen=True, tag=True):
    """The timer's time came (wake-up). ``due`` is the time it was set for."""

    key: Key
    due: float = 0.0


class TimerCancelled(Event, frozen=True, tag=True):
    """The workflow no longer needs the timer."""

    key: Key


class SignalAwaited(Event, frozen=True, tag=True):
    """The workflow waits for a signal of this name, or takes one that was there before it waited."""

    key: Key
    name: str
    site: int = 0


class SignalDropped(Event, frozen=True, tag=True):
    """The workflow stopped waiting for the signal (time-out or cancellation)."""

    key: Key
    name: str


class SignalReceived(Event, frozen=True, tag=True):
    """Somebody sent a signal (wake-up). Kept for the first waiter of that name, now or later.

    ``id`` is the sender's idempotency key: a second signal with it changes nothing.
    """

    name: str
    value: Value
    id: str = ""


class SignalSent(Event, frozen=True, tag=True):
    """The workflow sends a signal to another run. Settled like a step, by ``StepCompleted`` or ``StepFailed``."""

    key: Key
    step: str
    run: RunId
    name: str
    value: Value
    digest: Digest = Digest("")
    site: int = 0


class CancelSent(Event, frozen=True, tag=True):
    """The workflow asks another run to stop, for ``cause`` as in ``CancelRequested``. Settled like a step."""

    key: Key
    step: str
    run: RunId
    reason: str = ""
    cause: str = ""
    digest: Digest = Digest("")
    site: int = 0
