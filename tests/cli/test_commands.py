"""Exit codes, JSON shapes and messages, with a client that answers from memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flowbook.cli import main
from flowbook.core import events as e
from flowbook.core.ids import RunId, Seq
from flowbook.errors import EngineUnavailable
from tests.cli.fake import FakeClient


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    """The one JSON document on stdout."""
    return json.loads(capsys.readouterr().out)


RUN_FIELDS = {"id", "workflow", "status", "result", "error"}


def test_show(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "ok", "--json"]) == 0
    found = document(capsys)
    assert set(found) >= RUN_FIELDS and found["result"] == {"total": 3} and found["error"] is None
    assert main(["show", "bad", "--json"]) == 0
    found = document(capsys)
    assert found["error"]["type"] == "ZeroDivisionError" and found["error"]["step"] == "clean"
    assert (found["error"]["cell"], found["error"]["line"]) == ("c2", 2)


def test_show_for_people(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "bad"]) == 0
    shown = capsys.readouterr().out
    assert "✕ clean" in shown and "cell 2, line 2" in shown and "flowbook fork bad --step clean" in shown
    assert main(["show", "wait"]) == 0
    assert "flowbook signal wait ok true" in capsys.readouterr().out


def test_runs(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--json"]) == 0
    assert [run["status"] for run in document(capsys)] == ["failed", "succeeded"]
    assert main(["runs"]) == 0
    assert "clean: ZeroDivisionError" in capsys.readouterr().out


def test_a_paused_run_is_seen_and_says_why(
    client: FakeClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = {**client.run("wait"), "status": "paused", "reason": "the code does not fit", "waits": []}
    monkeypatch.setattr(client, "run", lambda run: paused)
    monkeypatch.setattr(client, "runs", lambda limit, status: [paused])
    assert main(["runs"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert " paused " in line and line.endswith("the code does not fit")
    assert main(["show", "wait"]) == 0
    shown = capsys.readouterr().out
    assert "paused: the code does not fit" in shown and "flowbook resume wait" in shown


@pytest.mark.parametrize(("run", "code"), [("ok", 0), ("bad", 1), ("stopped", 1)])
def test_watch_ends_with_the_runs_exit_code(
    client: FakeClient, capsys: pytest.CaptureFixture[str], run: str, code: int
) -> None:
    assert main(["watch", run, "--json"]) == code
    assert document(capsys)["id"] == run
    assert main(["watch", run]) == code


def test_at(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["at", "bad", "3", "--json"]) == 0
    found = document(capsys)
    assert found["event"] == 3
    frame = found["stack"][0]
    assert (frame["cell"], frame["line"], frame["function"], frame["locals"]) == ("c2", 2, "clean", {"rows": 3})
    assert found["values"]["rows"] == [1, 2] and found["values"]["df"]["$type"] == "DataFrame"
    assert main(["at", "bad", "3"]) == 0
    shown = capsys.readouterr().out
    assert "cell 2, line 2, in clean" in shown and "> 1 / 0" in shown and "rows = 3" in shown


def test_signal_reads_json_else_text(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["signal", "wait", "ok", "true", "--json"]) == 0
    assert main(["signal", "wait", "ok", "fine by me", "--id", "1"]) == 0
    assert client.said == [("signal", ("ok", b"true", "")), ("signal", ("ok", b'"fine by me"', "1"))]


def test_cancel(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cancel", "wait", "--json"]) == 0
    assert document(capsys)["outcome"] == "queued"
    assert main(["cancel", "ok"]) == 0
    assert "had ended already" in capsys.readouterr().out


def test_fork_plans_and_starts(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fork", "bad", "--step", "clean", "--plan", "--json"]) == 0
    found = document(capsys)
    assert [(row["step"], row["action"]) for row in found["rows"]] == [("load", "reuse"), ("clean", "rerun")]
    assert client.said == []
    assert main(["fork", "bad", "--plan"]) == 0
    assert "it failed" in capsys.readouterr().out
    assert main(["fork", "bad", "--step", "clean", "--json"]) == 0
    assert document(capsys)["status"] == "succeeded"
    [(_, (run, workflow, digest, *_rest, named))] = client.said
    assert run.startswith("shop-") and workflow == "shop" and digest == "m"
    assert named["origin"] == e.Origin(RunId("bad"), Seq(4), ("clean",)) and named["seed"] == "s"


def test_sql(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql", "select 42 as n", "--json"]) == 0
    assert document(capsys)["rows"] == [[42]]
    assert main(["sql", "select 42 as n"]) == 0
    assert capsys.readouterr().out.split() == ["n", "──", "42"]


def test_a_mistake_is_a_message_on_stderr_and_2(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "nope"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("flowbook: there is no run 'nope'") and said.out == ""
    assert main(["show", "nope", "--json"]) == 2
    said = capsys.readouterr()
    assert json.loads(said.out)["error"]["type"] == "UnknownRun" and "Traceback" not in said.err


def test_an_engine_that_does_not_start_is_a_message_too(
    client: FakeClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(run: str) -> None:
        raise EngineUnavailable("the file flowbook.duckdb is held by another process (pid 7). Stop it and try again.")

    monkeypatch.setattr(client, "run", refuse)
    assert main(["show", "ok"]) == 2
    assert "held by another process" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.ipynb", None, "there is no file"),
        ("broken.ipynb", '{"cells": [', "damaged"),
        ("other.ipynb", "[1, 2]", "no list of cells"),
        ("text.txt", "hello", "neither a notebook"),
    ],
)
def test_files_that_are_no_workflows(
    client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str | None, says: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    assert main(["run", str(tmp_path / name)]) == 2
    assert says in capsys.readouterr().err
