"""What time asks of a run, from its state alone: timers to fire, retries to wake, and when to look again."""

from __future__ import annotations

from typing import NamedTuple

from flowbook.core.ids import Key
from flowbook.core.state import RunState


class Due(NamedTuple):
    """``timers`` in the order they were due; ``retry``: a step's next attempt may begin; ``next``: look again then."""

    timers: tuple[Key, ...] = ()
    retry: bool = False
    next: float | None = None


NOTHING_DUE = Due()


def due(state: RunState, now: float) -> Due:
    """What is due at ``now``. A closed or paused run asks for nothing."""
    if state.closed or state.paused or not (state.timers or state.steps):
        return NOTHING_DUE
    fire: list[tuple[float, Key]] = []
    later: list[float] = []
    for key, timer in state.timers.items():
        if timer.due <= now:
            fire.append((timer.due, key))
        else:
            later.append(timer.due)
    retry = False
    for live in state.steps.values():
        if live.running:
            continue
        if live.retry_at <= now:
            retry = True
        else:
            later.append(live.retry_at)
    fire.sort(key=lambda pair: pair[0])
    return Due(tuple(key for _, key in fire), retry, min(later, default=None))
