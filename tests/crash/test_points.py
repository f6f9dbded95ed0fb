"""SIGKILL at named points of the engine and of workers: before and after each thing that matters."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowbook.errors import EngineUnavailable
from tests.crash.project import Project, encoded, eventually

pytestmark = [pytest.mark.crash, pytest.mark.slow]

POINTS = {
    "a group is written": ("flowbook.store.journal:Journal.append", 4),
    "the journal goes to DuckDB": ("flowbook.store.duckdb:Database.insert", 1),
    "logs are folded": ("flowbook.store.local:LocalStore.tidy", 1),
    "events are acted on": ("flowbook.engine.engine:Engine._act", 4),
    "a run is given out": ("flowbook.engine.links:WorkerLink.activate", 2),
    "events are sent": ("flowbook.engine.links:WorkerLink.commit", 4),
    "a run is taken up": ("flowbook.worker.held:HeldRun.activate", 2),
    "events are applied": ("flowbook.worker.held:HeldRun.commit", 4),
    "a report is made": ("flowbook.worker.held:HeldRun.report", 4),
    "an attempt ends": ("flowbook.worker.held:HeldRun.ended", 4),
    "a run is dropped": ("flowbook.worker.held:HeldRun.release", 4),
}
"""What happens there, the function that does it, and which of its calls is the last of its process."""

CASES = [
    pytest.param(f"{place}:{when}:{number}", id=f"{what}, {when}")
    for what, (place, number) in POINTS.items()
    for when in ("before", "after")
]


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    return tmp_path / "killed"


@pytest.fixture
def project(request: pytest.FixtureRequest, flag: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.setenv("FLOWBOOK_TEST_KILL", f"{request.param}:{flag}")
    paths = [str(Path(__file__).parent / "killing"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("FLOWBOOK_RECONNECT_GRACE", "2")
    monkeypatch.setenv("FLOWBOOK_ALWAYS_EVICT", "1" if "release" in request.param else "")
    with tempfile.TemporaryDirectory(prefix="flowbook-point-", ignore_cleanup_errors=True) as folder:
        made = Project(Path(folder))
        yield made
        made.close()


@pytest.mark.parametrize("project", CASES, indirect=True)
def test_nothing_acknowledged_is_lost_and_nothing_recorded_is_repeated(project: Project, flag: Path) -> None:
    ledgers = {run: Path(f"{project.ledger}-{run}") for run in ("r1", "r2")}
    project.start("r1", "mixed", ledger=str(ledgers["r1"]), count=2)
    project.start("r2", "asked", ledger=str(ledgers["r2"]))
    project.client.signal("r2", "answer", encoded("yes"), "once")
    assert project.result("r1") == [0, 1]
    assert project.result("r2") == "yes"
    for run, ledger in ledgers.items():
        recorded = project.recorded_steps(run)
        assert set(recorded.values()) == {1}
        ended = {line.split()[1] for line in ledger.read_text().splitlines() if line.startswith("end")}
        assert ended == set(recorded)
    kinds = [type(recorded.event).__name__ for recorded in project.history("r2")]
    assert kinds.count("SignalReceived") == 1
    # Logs are folded only when all is quiet, or at the end.
    with contextlib.suppress(EngineUnavailable):
        project.client.stop()
    eventually(flag.exists)
