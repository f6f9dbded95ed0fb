"""What the engine keeps in memory of runs that have ended, and that it deletes them though it never rests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flowbook.core import events as e
from flowbook.core.ids import Digest, Key, RunId, Seq
from flowbook.core.value import NOTHING
from flowbook.engine import retention, runs
from flowbook.engine.retention import Retention
from flowbook.engine.runs import LiveRun, Runs
from flowbook.store.base import entry

RETRIED = (
    e.ObligationOpened(key=Key("vm"), name="vm"),
    e.RunCancelled(),
    e.ObligationRetried(key=Key("vm"), run=RunId("trial")),
)


def ended(id: str, *more: e.AnyEvent) -> LiveRun:
    started = e.RunStarted(run=RunId(id), workflow="w", module=Digest("m"), place=e.Place("/p", "py"))
    facts = (started, *(more or (e.RunCompleted(value=NOTHING),)))
    return LiveRun(
        RunId(id), [entry(RunId(id), e.Recorded(Seq(n), 1.0, fact)).record for n, fact in enumerate(facts, 1)]
    )


def test_ended_runs_are_kept_within_bounds_and_those_that_are_awaited_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "KEPT_BYTES", 100_000)
    known = Runs()
    known.keep(ended("owes", *RETRIED))
    for number in range(1000):
        known.keep(ended(f"r{number}"))
    kept = [number for number in range(1000) if known.get(RunId(f"r{number}")) is not None]
    assert 10 <= len(kept) <= 25 and kept == list(range(1000 - len(kept), 1000))
    assert known.get(RunId("owes")) is not None
    assert known.is_stored(RunId("r0")) and known.is_known(RunId("r0"))


@pytest.mark.anyio
async def test_it_prunes_although_there_is_always_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Enough(Exception):
        pass

    waited: list[float] = []
    pruned: list[Any] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(pruned) == 2:
            raise Enough

    async def prune(asked: Any) -> Any:
        pruned.append(asked)
        return {"runs": []}

    engine: Any = SimpleNamespace(store=SimpleNamespace(backlog=lambda: 1))
    keeping = Retention(engine, None, None, None, keep=600.0)  # type: ignore[arg-type]
    monkeypatch.setattr(keeping, "pruned", prune)
    monkeypatch.setattr(retention.anyio, "sleep", sleep)
    with pytest.raises(Enough):
        await keeping.run()
    assert len(pruned) == 2 and pruned[0].older_than == 600.0
    assert sum(waited) < 600.0
