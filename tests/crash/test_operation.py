"""SIGKILL in the middle of long-running operations: what was started outside is finished or taken back, never left."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowbook.client.asks import Ask
from flowbook.core import events as e
from flowbook.core.ids import RunId
from flowbook.wire import calls
from tests.crash.project import Project, eventually, kill

pytestmark = [pytest.mark.crash, pytest.mark.slow]


def _begin(project: Project, timeout: float = 0.0) -> None:
    project.start("r", "provision", ledger=str(project.ledger), timeout=timeout)
    eventually(lambda: project.recorded_steps("r"))


def _kill_all(project: Project) -> None:
    for pid in [project.engine_pid(), *project.worker_pids()]:
        kill(pid, missing_ok=True)


def _outcomes(project: Project) -> list[str]:
    return [r.event.outcome for r in project.history("r") if isinstance(r.event, e.ObligationSettled)]


def test_an_operation_goes_on_where_it_was(project: Project) -> None:
    _begin(project)
    _kill_all(project)
    Path(f"{project.ledger}.ready").touch()
    assert project.result("r") == str(project.ledger)
    assert project.lines("create") == {"vm": 1} and not project.lines("delete")
    assert _outcomes(project) == ["kept"]


@pytest.mark.parametrize("end", ["cancel", "terminate", "time-out"])
def test_an_operation_that_is_ended_is_cancelled_outside_whoever_dies_meanwhile(project: Project, end: str) -> None:
    _begin(project, timeout=2.0 if end == "time-out" else 0.0)
    if end == "cancel":
        project.client.cancel("r")
    elif end == "terminate":
        project.client._ask(Ask("terminate", calls.Terminate(RunId("r"))))
    _kill_all(project)
    status = project.client.wait("r", 60.0)["status"]
    assert status == {"cancel": "cancelled", "terminate": "terminated", "time-out": "failed"}[end]
    assert project.lines("create") == {"vm": 1}
    assert project.lines("delete")["vm"] >= 1 and project.lines("confirm")["vm"] >= 1
    assert _outcomes(project) == ["cancelled"]
    assert project.client.run("r")["obligations"] == []
