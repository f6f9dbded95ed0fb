"""The soak in short: every kind of run ends as it should while others look on; and the verdict can tell."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from flowbook.client import Client
from tests.soak.load import ENDS, Log, Sample, Soak
from tests.soak.verdict import faults

MIB = 1024 * 1024
LEVEL = Sample(0.0, 0, 0, 0, 90 * MIB, 40 * MIB, 30, 10, 5 * MIB, 20 * MIB)


@pytest.mark.slow
def test_mixed_load_leaves_nothing_behind() -> None:
    with tempfile.TemporaryDirectory(prefix="flowbook-soak-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / ".flowbook"
        try:
            log = anyio.run(Soak(home, seconds=15.0, rate=20.0, seed=1, every=0.5).run)
        finally:
            with Client(home, start=False) as client:
                client.stop()
    assert set(log.started) == set(ENDS)
    assert log.wrong == []
    assert log.samples[-1].open == 0


@pytest.mark.parametrize(
    ("what", "more"),
    [("engine", 100 * MIB), ("workers", 100 * MIB), ("database", 100 * MIB), ("journal", 100 * MIB), ("handles", 40)],
)
def test_the_verdict_sees_growth(what: str, more: int) -> None:
    log = Log()
    log.samples = [replace(LEVEL, at=float(at)) for at in range(100)]
    assert faults(log) == []
    log.samples = [replace(LEVEL, **{what: getattr(LEVEL, what) + more * at // 100}) for at in range(100)]
    assert len(faults(log)) == 1 and "grew from" in faults(log)[0]


def test_the_verdict_sees_what_is_stuck_or_wrong() -> None:
    log = Log(wrong=["asked-1: not ended in time"], samples=[replace(LEVEL, open=2)] * 8)
    assert [fault.split(",")[0] for fault in faults(log)] == ["1 runs went wrong", "2 runs are still open"]
