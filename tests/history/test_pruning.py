"""What is deleted, what is spared, and that a kill in between loses nothing."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.project import Project
from tests.history.test_moving import awaiting, shown, started

pytestmark = pytest.mark.slow

New = Callable[..., Project]


def pruned(project: Project, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project("prune", *options, "--yes", "--json").stdout)
    return found


def runs(project: Project) -> list[str]:
    return sorted(run["id"] for run in json.loads(project("runs", "--json").stdout))


def files(project: Project) -> list[Path]:
    return [path for path in (project.folder / ".flowbook" / "values").rglob("*") if path.is_file()]


def age(project: Project) -> None:
    """Value files as they are after two hours."""
    for path in files(project):
        os.utime(path, (time.time() - 7200, time.time() - 7200))


def test_ended_runs_go_with_their_values_and_open_ones_stay(new_project: New) -> None:
    project = new_project("ours")
    for number, run in enumerate(("m1", "m2", "m3")):
        project("run", "flows.py:measure", "-p", f"size={50_000 + number}", "--id", run)
    started(project, "ask", "open")
    awaiting(project, "open")
    assert len(files(project)) == 4
    age(project)
    looked = pruned(project, "--keep-last", "1", "--dry-run")
    assert [run["id"] for run in looked["runs"]] == ["m2", "m1"] and looked["dry_run"]
    assert pruned(project, "--older-than", "1d")["runs"] == []
    assert pruned(project, "--status", "failed")["runs"] == []
    assert runs(project) == ["m1", "m2", "m3", "open"]
    done = pruned(project, "--keep-last", "1")
    assert ([run["id"] for run in done["runs"]], done["values"]) == (["m2", "m1"], 2)
    assert done["freed"] > 100_000
    assert len(files(project)) == 2 and runs(project) == ["m3", "open"]
    project("engine", "stop")
    assert runs(project) == ["m3", "open"]
    assert "no run" in project("show", "m1", code=2).stderr
    # An id that was deleted is free again.
    project("run", "flows.py:measure", "--id", "m1")
    assert pruned(project, "--where", "id = 'm3'")["runs"][0]["id"] == "m3"
    project("signal", "open", "go", "5")
    project("watch", "open")
    assert shown(project, "open")["result"] == [100_000, 5]


def test_what_an_open_fork_takes_from_stays(new_project: New) -> None:
    project = new_project("ours")
    started(project, "ask", "first")
    awaiting(project, "first")
    project("signal", "first", "go", "1")
    project("watch", "first")
    project("fork", "first", "--at", "3", "--id", "second", "--detach", "--file", "flows.py:ask")
    awaiting(project, "second")
    age(project)
    done = pruned(project, "--where", "true")
    assert done["runs"] == [] and "fork of it" in done["kept"][0]["reason"]
    project("cancel", "second")
    project("watch", "second", code=1)
    assert [run["id"] for run in pruned(project, "--where", "true")["runs"]] == ["second", "first"]
    assert (runs(project), files(project)) == ([], [])


def test_it_prunes_by_itself_when_it_is_idle(new_project: New) -> None:
    project = new_project("ours", FLOWBOOK_RETENTION="1s")
    project("run", "flows.py:measure", "--id", "m")
    deadline = time.monotonic() + 30
    while runs(project) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert runs(project) == []


def test_what_owes_something_outside_stays_until_it_is_said(new_project: New) -> None:
    project = new_project("ours")
    project("run", "flows.py:owing", "--id", "debtor", code=1)
    project("run", "flows.py:measure", "--id", "m")
    assert [owed["run"] for owed in json.loads(project("obligations", "--json").stdout)] == ["debtor"]
    done = pruned(project, "--where", "true")
    assert [run["id"] for run in done["runs"]] == ["m"]
    assert done["kept"] == [
        {
            "id": "debtor",
            "reason": "it still owes something outside; `flowbook obligations` says what, --owing deletes it as well",
        }
    ]
    assert runs(project) == ["debtor"]
    assert [run["id"] for run in pruned(project, "--where", "true", "--owing")["runs"]] == ["debtor"]
    assert runs(project) == []
