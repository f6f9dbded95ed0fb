"""One command to many runs, found by SQL."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.end_to_end.project import Project
from tests.history.test_moving import awaiting, shown, started

pytestmark = pytest.mark.slow


def test_many_runs_are_told_the_same(new_project: Callable[..., Project]) -> None:
    project = new_project("ours")
    for run in ("a1", "a2", "b1", "b2", "c1"):
        started(project, "ask", run)
    for run in ("a1", "a2", "b1", "b2", "c1"):
        awaiting(project, run)
    said = json.loads(project("signal", "--where", "id like 'a%'", "go", "1", "--json", "--yes").stdout)
    assert said == [{"run": run, "outcome": "recorded", "error": None} for run in ("a1", "a2")]
    project("watch", "a1")
    project("watch", "a2")
    assert [shown(project, run)["result"] for run in ("a1", "a2")] == [[100_000, 1], [100_000, 1]]
    # A comment at the end of the predicate ends with its line; ended runs are not asked to stop.
    told = project(
        "cancel", "--where", "workflow = 'ask' and id <> 'c1' -- but not c1", "--reason", "tidy", "--yes"
    ).stdout
    assert [line.split()[0] for line in told.splitlines()] == ["run", "b1", "b2"]
    project("watch", "b1", code=1)
    assert shown(project, "b1")["reason"] == "tidy"
    assert "--yes" in project("terminate", "--where", "true", code=2).stderr
    assert "c1" in project("terminate", "--yes", "--where", "status in ('waiting', 'running')").stdout
    assert shown(project, "c1")["status"] == "terminated"
    assert project("resume", "--where", "true").stdout == "no run matches\n"


def test_now_is_now_wherever_the_machine_is(new_project: Callable[..., Project]) -> None:
    project = new_project("ours", TZ="Asia/Tokyo")
    started(project, "ask", "young")
    for condition in ("started < now() - interval 8 hour", "started > now() + interval 1 hour"):
        assert project("cancel", "--where", condition, "--yes").stdout == "no run matches\n"
    (told,) = json.loads(project("cancel", "--where", "started > now() - interval 1 hour", "--yes", "--json").stdout)
    assert told["run"] == "young"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("cancel", "--where", "nonsense = 1"), "nonsense"),
        (("cancel", "--where", "1 = 1); delete from recorded; --"), "more than one"),
        (("cancel", "--where", "true) or (true", "--yes"), "more than one"),
        (("cancel", "--where", " ", "--yes"), "predicate is empty"),
        (("runs", "--where", ""), "predicate is empty"),
        (("prune", "--where", "-- all", "--yes"), "predicate is empty"),
        (("cancel", "run-1", "--where", "true"), "not both"),
        (("cancel",), "RUN is missing"),
        (("signal", "run-1"), "NAME is missing"),
        (("signal", "--where", "true", "run-1", "go", "1"), "name and value alone"),
        (("prune",), "say which runs"),
        (("prune", "--where", "nonsense"), "nonsense"),
        (("prune", "--status", "running"), "there is no 'running'"),
        (("prune", "--older-than", "soon"), "not a duration"),
        (("prune", "--older-than", "30"), "'30' has no unit"),
        (("prune", "--keep-last", "-1"), "whole number from 0"),
    ],
)
def test_mistakes_are_told(new_project: Callable[..., Project], command: tuple[str, ...], said: str) -> None:
    assert said in new_project("ours")(*command, code=2).stderr
