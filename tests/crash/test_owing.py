"""SIGKILL while something is begun outside, or taken back: what was begun is there once, and kept, gone or listed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flowbook.client import asks
from flowbook.client.asks import Ask
from flowbook.core import events as e
from flowbook.core.ids import RunId
from flowbook.wire import calls
from tests.crash.project import Project, eventually, kill

pytestmark = [pytest.mark.crash, pytest.mark.slow]


def kill_workers(project: Project) -> None:
    for pid in project.worker_pids():
        kill(pid, missing_ok=True)


def kill_engine(project: Project) -> None:
    kill(project.engine_pid())


def kill_all(project: Project) -> None:
    for pid in [project.engine_pid(), *project.worker_pids()]:
        kill(pid, missing_ok=True)


Kill = Callable[[Project], None]
killed = pytest.mark.parametrize("killed", [kill_workers, kill_engine, kill_all], ids=["workers", "engine", "all"])


def asked_for(project: Project, name: str) -> bool:
    return any(line.startswith(name) for line in project.lines("ask"))


def end(project: Project, how: str) -> None:
    if how == "cancel":
        project.client.cancel("r")
    elif how == "terminate":
        project.client._ask(Ask("terminate", calls.Terminate(RunId("r"))))


def unlisted(project: Project) -> set[str]:
    """What was asked for, is not known to be gone, and that nobody is told of."""
    listed = {str(owed["name"]) for owed in project.client.run("r")["obligations"]}
    return set() if listed else project.lines("ask").keys() - project.lines("gone").keys()


@killed
def test_what_is_being_started_is_asked_for_once_and_goes_on(project: Project, killed: Kill) -> None:
    project.start("r", "ordering", ledger=str(project.ledger), seconds=0.7)
    eventually(lambda: asked_for(project, "vm"))
    killed(project)
    (project.folder / "ledger.ready").touch()
    assert project.result("r") == "vm"
    assert len(project.lines("ask")) == 1 and not project.lines("gone")


@pytest.mark.parametrize("how", ["cancel", "terminate"])
@killed
def test_what_is_being_started_when_its_run_is_ended_is_called_off(project: Project, how: str, killed: Kill) -> None:
    project.start("r", "ordering", ledger=str(project.ledger), seconds=0.7)
    eventually(lambda: asked_for(project, "vm"))
    end(project, how)
    killed(project)
    assert project.client.wait("r", 60.0)["status"] == {"cancel": "cancelled", "terminate": "terminated"}[how]
    assert len(project.lines("ask")) == 1 and not unlisted(project)


@pytest.mark.parametrize("how", ["fails", "cancel", "terminate"])
def test_a_saga_takes_back_what_it_began_whoever_dies_meanwhile(project: Project, how: str) -> None:
    project.start("r", "shopping", ledger=str(project.ledger), seconds=0.7, fails=how == "fails")
    eventually(lambda: asked_for(project, "fig"))
    end(project, how)
    kill_all(project)
    assert project.client.wait("r", 60.0)["status"] == {"cancel": "cancelled", "terminate": "terminated"}.get(
        how, "failed"
    )
    assert len(project.lines("ask")) == 2 and not unlisted(project)


def test_a_saga_that_ends_well_keeps_what_it_did(project: Project) -> None:
    project.start("r", "shopping", ledger=str(project.ledger), seconds=0.7, fails=False)
    eventually(lambda: asked_for(project, "fig"))
    kill_all(project)
    assert project.result("r") == "bought"
    assert len(project.lines("ask")) == 2 and not project.lines("gone")


@killed
def test_what_is_tried_again_is_settled_whoever_dies_meanwhile(project: Project, killed: Kill) -> None:
    project.start("r", "ordering", ledger=str(project.ledger), seconds=0.0)
    eventually(lambda: asked_for(project, "vm"))
    project.client._ask(Ask("terminate", calls.Terminate(RunId("r"), "", now=True)))
    assert [owed["name"] for owed in project.client.run("r")["obligations"]] == ["buy"] and not project.lines("gone")
    project.client.ask(asks.retry_obligation("r", "buy"))
    eventually(lambda: project.lines("calling"))
    killed(project)
    eventually(lambda: not project.client.run("r")["obligations"])
    assert project.lines("gone").keys() == project.lines("ask").keys()
    after = [type(recorded.event) for recorded in project.history("r")][-2:]
    assert after == [e.ObligationRetried, e.ObligationSettled]
