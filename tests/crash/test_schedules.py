"""SIGKILL around the commit in which a time and its run become facts: no time is lost, none has two runs."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowbook.client import schedule_asks
from flowbook.core.event import Place
from flowbook.core.schedule import ScheduledStart, ScheduleSpec
from tests.crash.project import Project, encoded, eventually

pytestmark = [pytest.mark.crash, pytest.mark.slow]

APPEND = "flowbook.store.journal:Journal.append"
POINTS = [
    f"{APPEND}:before:3",
    f"{APPEND}:after:3",
    f"{APPEND}:before:6",
    f"{APPEND}:after:6",
    "flowbook.engine.schedules:Schedules.take:after:2",
    "flowbook.engine.engine:Engine._act:before:2",
]


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    return tmp_path / "killed"


@pytest.fixture
def project(request: pytest.FixtureRequest, flag: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.setenv("FLOWBOOK_TEST_KILL", f"{request.param}:{flag}")
    paths = [str(Path(__file__).parent / "killing"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("FLOWBOOK_RECONNECT_GRACE", "0.5")
    with tempfile.TemporaryDirectory(prefix="flowbook-point-", ignore_cleanup_errors=True) as folder:
        made = Project(Path(folder))
        yield made
        made.close()


@pytest.mark.parametrize("project", POINTS, indirect=True)
def test_every_time_has_one_run(project: Project, flag: Path) -> None:
    start = ScheduledStart(
        workflow="sequence",
        module=project.module.digest,
        place=Place(str(project.folder), sys.executable),
        arguments={"ledger": encoded(str(project.ledger)), "count": encoded(1), "seconds": encoded(0.0)},
    )
    project.client.ask(schedule_asks.set_schedule("often", ScheduleSpec(run=start, every=1.0, overlap="allow_all")))
    eventually(flag.exists)
    killed = project.client.ask(schedule_asks.schedule("often", 1))["started"]
    eventually(lambda: project.client.ask(schedule_asks.schedule("often", 1))["started"] >= killed + 2)
    project.client.ask(schedule_asks.pause("often", ""))
    eventually(lambda: not project.client.ask(schedule_asks.schedule("often", 1))["running"])
    summary = project.client.ask(schedule_asks.schedule("often", 1))
    times = [begun["at"] for begun in reversed(summary["recent"])]
    assert times == [times[0] + number for number in range(summary["started"])] and summary["skipped"] == 0
    runs = project.client.runs(1000)
    assert {run["id"] for run in runs} == {begun["run"] for begun in summary["recent"]}
    assert {run["status"] for run in runs} == {"succeeded"} and not any("~" in run["id"] for run in runs)
