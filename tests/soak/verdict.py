"""Whether a soak went well: flat memory, bounded files, nothing stuck. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.soak.load import Log, Sample

SLACK = 16 * 1024 * 1024
"""Bytes by which memory may grow over the second half whatever it was: caches that have not met their limits."""

GROWTH = 1.15
"""By how much the middle of the last quarter may be above that of the second."""


def faults(log: Log) -> list[str]:
    """What was not as it should be, in words."""
    found = [f"{len(log.wrong)} runs went wrong, the first: {'; '.join(log.wrong[:3])}"] if log.wrong else []
    last = log.samples[-1]
    if last.open:
        found.append(f"{last.open} runs are still open")
    for name, of in _FLAT.items():
        before, after = _quarter(log.samples, 1, of), _quarter(log.samples, 3, of)
        if after > before * GROWTH + (SLACK if name != "open files" else 8):
            found.append(f"{name} grew from {before:,.0f} to {after:,.0f}")
    return found


_FLAT: dict[str, Callable[[Sample], float]] = {
    "the engine's memory": lambda sample: sample.engine,
    "the workers' memory": lambda sample: sample.workers,
    "the database file": lambda sample: sample.database,
    "the journal": lambda sample: sample.journal,
    "open files": lambda sample: sample.handles,
}


def _quarter(samples: Sequence[Sample], which: int, of: Callable[[Sample], float]) -> float:
    """The middle value of a quarter of the time."""
    size = max(1, len(samples) // 4)
    part = sorted(of(sample) for sample in samples[which * size : (which + 1) * size])
    return part[len(part) // 2]
