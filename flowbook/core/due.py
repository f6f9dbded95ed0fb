"""What time asks of a run, from its state alone: timers to fire, retries to wake, and when to look again."""

from __future__ import annotations

from typing import NamedTuple

from flowbook.core.ids import Key
from flowbook.core.state import RunState


class Due(NamedTuple):
    """What is due now.

    ``timers`` in the order they were due; ``retry``: the run's own worker has a next attempt to begin; ``queued``:
    steps a worker of their queue may take; ``expired``: steps whose result did not come; ``timed_out``: the run's own
    time is up; ``next``: look again then.
    """

    timers: tuple[Key, ...] = ()
    retry: bool = False
    queued: tuple[Key, ...] = ()
    expired: tuple[Key, ...] = ()
    timed_out: bool = False
    next: float | None = None


NOTHING_DUE = Due()


def due(state: RunState, now: float) -> Due:
    """What is due at ``now``. A closed run asks for nothing, a paused one only for its end."""
    if state.closed or not (state.timers or state.steps or state.timeout):
        return NOTHING_DUE
    later: list[float] = []
    timed_out = _is_up(state.deadline, now, later)
    if state.paused:
        return Due(timed_out=timed_out, next=min(later, default=None))
    fire = [(timer.due, key) for key, timer in state.timers.items() if _is_up(timer.due, now, later)]
    fire.sort(key=lambda pair: pair[0])
    retry, queued, expired = False, [], []
    for key, live in state.steps.items():
        if live.running:
            if live.waiting and _is_up(live.expires, now, later):
                expired.append(key)
        elif live.retry_at > now:
            later.append(live.retry_at)
        elif live.queue:
            queued.append(key)
        else:
            retry = True
    timers = tuple(key for _, key in fire)
    return Due(timers, retry, tuple(queued), tuple(expired), timed_out, min(later, default=None))


def _is_up(at: float, now: float, later: list[float]) -> bool:
    """True when the time ``at`` has come; where it has not, it is noted in ``later``. 0 never comes."""
    if at and at > now:
        later.append(at)
    return bool(at) and at <= now
