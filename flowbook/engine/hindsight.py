"""What a new engine learns about queues from histories: what is scheduled, what began lately."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flowbook.core.events import Recorded, StepScheduled, StepStarted
from flowbook.core.ids import Key, RunId
from flowbook.engine.engine import Engine
from flowbook.engine.runs import LiveRun
from flowbook.engine.shelf import Shelf
from flowbook.store.base import Store, decode_recorded

LEAST_LOOKED_BACK = 60.0
"""Seconds: a limit may be in code that no open run has called yet."""

MOST_LOOKED_AT = 4096
"""Closed runs read at most."""


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
    since = now - max(periods, default=0.0)
    since = min(since, now - LEAST_LOOKED_BACK)
    begun: dict[str, list[float]] = {}
    for run in engine.runs.open.values():
        _gather(run.records, since, begun)
    for closed in _closed_since(engine.store, since):
        _gather(engine.store.history(closed), since, begun)
    for name, times in begun.items():
        shelf[name].dispatcher.has_begun(times)


def _closed_since(store: Store, since: float) -> list[RunId]:
    """Runs that were closed since then."""
    limit = 64
    found = store.closed_runs(limit)
    while len(found) == limit < MOST_LOOKED_AT and decode_recorded(found[-1].last).time >= since:
        limit *= 4
        found = store.closed_runs(limit)
    return [closed.run for closed in found if decode_recorded(closed.last).time >= since]


def _gather(records: Sequence[bytes], since: float, begun: dict[str, list[float]]) -> None:
    """Add when steps of queues began, by queue."""
    queues: dict[Key, str] = {}
    for record in records:
        if b"StepScheduled" in record:
            event = decode_recorded(record).event
            if isinstance(event, StepScheduled):
                queues[event.key] = event.queue
        elif queues and b"StepStarted" in record:
            recorded = decode_recorded(record)
            if isinstance(recorded.event, StepStarted) and recorded.time >= since:
                queue = queues.get(recorded.event.key)
                if queue is not None:
                    begun.setdefault(queue, []).append(recorded.time)
