"""Decisions about steps whose result nobody needs, but whose end has to be known: what they began is taken back.

Part of ``decide``, which alone calls it.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowbook.core.events import AnyEvent, StepFailed, StepStopRequested
from flowbook.core.failure import Failure
from flowbook.core.state import LiveStep, RunState

Decision = Sequence[AnyEvent]


def stop_requested(state: RunState, message: StepStopRequested, now: float) -> Decision:
    """A running attempt goes on until it heeds that. What waits for an attempt, or for the world, has ended."""
    if state.closed or message.key in state.settled or message.key in state.unwanted:
        return ()
    live = state.steps.get(message.key)
    if live is None or (live.running and not live.waiting) or live.was_lost:
        # Only another attempt can tell what a lost one began.
        return (message,)
    failed = StepFailed(
        key=message.key,
        step=live.step,
        failure=_ended(live),
        digest=live.digest,
        attempt=max(live.attempt, 1),
        started=live.started,
        item=live.item,
        site=live.site,
    )
    return message, failed


def _ended(live: LiveStep) -> Failure:
    if live.waiting:
        text = f"step '{live.step}' waited for an answer from outside, and nobody waits for that any more"
        return Failure(type="Interrupted", message=text, retryable=False)
    how = "was not begun" if not live.attempt else "was not tried again"
    return Failure(type="NotStarted", message=f"step '{live.step}' {how}: nobody needs it any more", retryable=False)
