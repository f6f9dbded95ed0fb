"""A step that runs at most once, and SIGKILL: its body runs once, and no success is told that is not known."""

from __future__ import annotations

import pytest

from tests.crash.project import Project, eventually, kill

pytestmark = [pytest.mark.crash, pytest.mark.slow]


def test_its_worker_dies(project: Project) -> None:
    project.start("r", "paying", ledger=str(project.ledger), seconds=30.0)
    eventually(lambda: project.lines("pay"))
    for pid in project.worker_pids():
        kill(pid)
    summary = project.client.wait("r", 60.0)
    assert summary["status"] == "failed" and summary["error"] is not None
    assert summary["error"].type == "Interrupted" and summary["step"] == "pay"
    assert project.lines("pay") == {"rent": 1}


def test_the_engine_dies(project: Project) -> None:
    project.start("r", "paying", ledger=str(project.ledger), seconds=2.0)
    eventually(lambda: project.lines("pay"))
    kill(project.engine_pid())
    assert project.result("r") == "paid"
    assert project.lines("pay") == {"rent": 1}


def test_both_die(project: Project) -> None:
    project.start("r", "paying", ledger=str(project.ledger), seconds=30.0)
    eventually(lambda: project.lines("pay"))
    for pid in [project.engine_pid(), *project.worker_pids()]:
        kill(pid)
    assert project.client.wait("r", 60.0)["status"] == "failed"
    assert project.lines("pay") == {"rent": 1}
