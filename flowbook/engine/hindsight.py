"""What a new engine learns about queues from histories: what is scheduled, what began lately."""

from __future__ import annotations

from collections.abc import Iterator

from flowbook.core.events import Recorded, StepScheduled
from flowbook.engine.engine import Engine
from flowbook.engine.runs import LiveRun
from flowbook.engine.shelf import Shelf
from flowbook.store.base import decode_recorded

LEAST_LOOKED_BACK = 60.0
"""Seconds: a limit may be in code that no open run has called yet."""


def scheduled(run: LiveRun) -> Iterator[tuple[Recorded, StepScheduled]]:
    """The run's steps of queues that have not ended."""
    for record in run.records:
        if b"StepScheduled" in record:
            recorded = decode_recorded(record)
            if isinstance(recorded.event, StepScheduled) and recorded.event.key in run.state.steps:
                yield recorded, recorded.event


def recall_rates(shelf: Shelf, engine: Engine) -> None:
    """Tell the dispatchers what began lately, so that no rate is exceeded over the engine's death."""
    now = engine.clock.now()
    periods = [queue.dispatcher.limits.rate.period for queue in shelf if queue.dispatcher.limits.rate is not None]
    begun: dict[str, list[float]] = {}
    for name, time in engine.store.begun(now - max([*periods, LEAST_LOOKED_BACK])):
        begun.setdefault(name, []).append(time)
    for name, times in begun.items():
        shelf[name].dispatcher.has_begun(times)
