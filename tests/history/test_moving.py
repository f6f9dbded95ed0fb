"""Runs that leave one project as files and go on in another."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowbook.core import events as e
from flowbook.core.ids import Digest, Key, RunId, Seq
from flowbook.engine.archive import _at_home
from tests.end_to_end.project import Project

pytestmark = pytest.mark.slow

New = Callable[..., Project]


def started(project: Project, workflow: str, run: str) -> None:
    project("run", f"flows.py:{workflow}", "--id", run, "--detach")


def shown(project: Project, run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project("show", run, "--json").stdout)
    return found


def awaiting(project: Project, run: str) -> None:
    for _ in range(200):
        if shown(project, run)["waits"]:
            return
    raise AssertionError(shown(project, run))


def test_an_ended_run_moves_and_is_looked_at_and_forked(new_project: New) -> None:
    ours, theirs = new_project("ours"), new_project("theirs")
    ours("run", "flows.py:measure", "--id", "m")
    file = ours.folder / "m.flow"
    ours("history", "export", "m", "-o", file)
    said = theirs("history", "import", file)
    assert "m is imported (succeeded" in said.stdout
    assert shown(theirs, "m")["result"] == 100_000
    lines = theirs("history", "show", "m").stdout.splitlines()
    assert len(lines) == shown(theirs, "m")["seq"]
    here, there = (json.loads(p("history", "show", "m", "--json").stdout) for p in (theirs, ours))
    assert here[0]["event"]["place"]["folder"] == str(theirs.folder)
    assert here[1:] == there[1:]
    assert "tail = 100000" in theirs("at", "m", 4).stdout
    theirs("fork", "m", "--step", "tail", "--id", "forked", "--file", "flows.py:measure")
    forked = shown(theirs, "forked")
    assert (forked["result"], forked["steps"]["large"]["status"]) == (100_000, "reused")


def test_what_an_ended_run_owes_moves_with_it_and_so_does_what_became_of_that(new_project: New) -> None:
    ours, theirs, last = new_project("ours"), new_project("theirs"), new_project("last")
    ours("run", "flows.py:owing", "--id", "debtor", code=1)
    ours("history", "export", "debtor", "-o", ours.folder / "d.flow")
    theirs("history", "import", ours.folder / "d.flow")
    (owed,) = json.loads(theirs("obligations", "--json").stdout)
    assert (owed["run"], owed["status"], owed["failed"], owed["undo"]) == ("debtor", "failed", True, "never")
    trial = json.loads(theirs("obligations", "retry", "debtor", "--json").stdout)["trying"]
    theirs("watch", trial, code=1)
    theirs("obligations", "settle", "debtor", "--note", "seen to")
    assert json.loads(theirs("obligations", "--json").stdout) == shown(theirs, "debtor")["obligations"] == []
    theirs("history", "export", "debtor", "-o", theirs.folder / "d.flow")
    assert "debtor is imported (failed" in last("history", "import", theirs.folder / "d.flow").stdout
    assert shown(last, "debtor")["obligations"] == []
    kinds = [line["event"]["kind"] for line in json.loads(last("history", "show", "debtor", "--json").stdout)]
    assert kinds[kinds.index("RunFailed") :] == [
        "RunFailed",
        "ObligationRetried",
        "ObligationFailed",
        "ObligationSettled",
    ]


def test_an_open_run_is_paused_until_it_is_resumed(new_project: New) -> None:
    ours, theirs = new_project("ours"), new_project("theirs")
    started(ours, "ask", "a")
    awaiting(ours, "a")
    file = ours.folder / "a.flow"
    ours("history", "export", "a", "-o", file)
    theirs("history", "import", file, "--as", "b")
    found = shown(theirs, "b")
    assert found["status"] == "paused"
    assert 'it was imported from a.flow, where it is "a"' in found["reason"]
    theirs("engine", "stop")
    assert shown(theirs, "b")["status"] == "paused"
    theirs("resume", "b")
    theirs("signal", "b", "go", "7")
    theirs("watch", "b")
    assert shown(theirs, "b")["result"] == [100_000, 7]
    assert shown(ours, "a")["status"] in ("waiting", "running")


def test_a_run_that_arrives_has_no_family_here() -> None:
    """What has the id of its child here is another run."""
    there = e.Place("/there", "python")
    started = e.RunStarted(
        RunId("a~2"),
        "ask",
        Digest("m"),
        there,
        parent=e.Parent(RunId("boss"), Key("c")),
        schedule="daily",
        children={RunId("kid"): "cancel"},
    )
    here = e.Place("/here", "python")
    arrived = _at_home(e.Recorded(Seq(1), 1.0, started), RunId("b"), here).event
    assert arrived == e.RunStarted(RunId("b"), "ask", Digest("m"), here, original=RunId("a~2"))


def test_what_is_known_already_needs_another_name(new_project: New) -> None:
    project = new_project("ours")
    project("run", "flows.py:measure", "--id", "m")
    project("history", "export", "m", "-o", "m.flow")
    assert "--as" in project("history", "import", "m.flow", code=2).stderr
    assert "exists already" in project("history", "export", "m", "-o", "m.flow", code=2).stderr
    project("history", "import", "m.flow", "--as", "n")
    assert shown(project, "n")["result"] == 100_000
    assert "no run" in project("history", "export", "nobody", "-o", "x.flow", code=2).stderr


def _damaged(whole: Path, how: str) -> bytes:
    data = whole.read_bytes()
    match how:
        case "foreign":
            return b"hello"
        case "empty":
            return b""
        case "half":
            return data[: len(data) // 2]
        case "flipped":
            middle = len(data) // 2
            return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
    raise AssertionError(how)


def _another_zip(whole: Path, how: str, into: Path) -> None:
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(into, "w") as target:
        for name in source.namelist():
            body = source.read(name)
            if how == "an event is missing" and name == "events.jsonl":
                body = b"".join(body.splitlines(keepends=True)[:-1])
            if how == "a value is another" and name.startswith("values/"):
                body = body[:-1] + b"?"
            if how == "a value is missing" and name.startswith("values/"):
                continue
            if how == "a newer version" and name == "manifest.json":
                body = body.replace(b'"version": 1', b'"version": 99')
            if how == "no manifest" and name == "manifest.json":
                continue
            target.writestr(name, body)


def test_damaged_and_foreign_files_leave_nothing_behind(new_project: New, tmp_path: Path) -> None:
    ours, theirs = new_project("ours"), new_project("theirs")
    ours("run", "flows.py:measure", "--id", "m")
    whole = ours.folder / "m.flow"
    ours("history", "export", "m", "-o", whole)
    bad = tmp_path / "bad.flow"
    for how in ("foreign", "empty", "half", "flipped"):
        bad.write_bytes(_damaged(whole, how))
        assert "nothing was imported" in theirs("history", "import", bad, code=2).stderr, how
    changes = ("an event is missing", "a value is another", "a value is missing", "a newer version", "no manifest")
    for how in changes:
        _another_zip(whole, how, bad)
        assert "nothing was imported" in theirs("history", "import", bad, code=2).stderr, how
    theirs("history", "import", tmp_path / "none.flow", code=2)
    assert "no runs yet" in theirs("runs").stdout
    assert not [path for path in (theirs.folder / ".flowbook" / "values").rglob("*") if path.is_file()]


def test_a_run_that_waits_for_its_child_fails_that_wait_where_the_child_is_not(new_project: New) -> None:
    ours, theirs = new_project("ours"), new_project("theirs")
    started(ours, "family", "p")
    awaiting(ours, "p")
    (child,) = shown(ours, "p")["children"]
    file = ours.folder / "p.flow"
    ours("history", "export", "p", "-o", file)
    # A run of the child's name is another run here.
    started(theirs, "ask", child)
    said = theirs("history", "import", file).stdout
    assert f"Child runs that it waits for stayed there and have failed for it: {child}" in said
    theirs("resume", "p")
    theirs("watch", "p")
    assert f"child run {child} stayed where this run was imported from" in shown(theirs, "p")["result"]
    assert shown(theirs, child)["status"] in ("running", "waiting")


def test_links_to_other_runs_stay_where_the_file_comes_from(new_project: New) -> None:
    ours, theirs = new_project("ours"), new_project("theirs")
    ours("run", "flows.py:turns", "--id", "t")
    first, last = ours.folder / "t.flow", ours.folder / "t2.flow"
    ours("history", "export", "t", "-o", first)
    ours("history", "export", "t~2", "-o", last)
    ours("fork", "t~2", "--step", "tail", "--id", "f", "--file", "flows.py:turns")
    ours("history", "export", "f", "-o", ours.folder / "f.flow")
    theirs("run", "flows.py:measure", "--id", "t")
    theirs("history", "import", first, "--as", "moved")
    assert "it went on as another run, where it was imported from" in theirs("watch", "moved", code=1).stdout
    assert "given out" in theirs("history", "import", last, code=2).stderr
    assert "--as" in theirs("history", "import", last, code=2).stderr
    assert "given out" in theirs("history", "import", last, "--as", "x~2", code=2).stderr
    assert "cannot be shown" in theirs("history", "import", last, "--as", "a\nb", code=2).stderr
    theirs("history", "import", last, "--as", "last")
    found = shown(theirs, "last")
    assert (found["result"], found["continued"], found["parent"], found["origin"]) == ("over", None, None, None)
    theirs("history", "import", ours.folder / "f.flow")
    assert shown(theirs, "f")["origin"] is None
