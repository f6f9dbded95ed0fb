"""Exit codes, JSON shapes and messages, with a client that answers from memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowbook.api import connection as connection_module
from flowbook.cli import main
from flowbook.core import events as e
from flowbook.core.failure import Failure, Frame
from flowbook.core.graph import Edge, Graph, Node
from flowbook.core.ids import CellId, Digest, Key, RunId, Seq
from flowbook.core.module import Cell, Module, Workflow
from flowbook.core.value import Value
from flowbook.errors import EngineUnavailable, UnknownRun

GRAPH = Graph(
    (Node("load", cell="c1", cell_number=1), Node("clean", cell="c2", cell_number=2)), (Edge("load", "clean"),)
)
MODULE = Module(
    Digest("m"), "shop", "# code", (Workflow("shop", GRAPH),), {"load": Digest("1"), "clean": Digest("2")},
    cells=(Cell(CellId("c1"), 1, ""),),
)  # fmt: skip
FRAME = Frame("clean", 2, cell="c2", number=2, source="1 / 0", locals={"rows": 3})
ERROR = Failure("ZeroDivisionError", "division by zero", (FRAME,), "Traceback ...")


def value(data: Any) -> Value:
    """Encoded JSON."""
    return Value(codec="json", data=msgspec.Raw(msgspec.json.encode(data)))


class FakeClient:
    """Answers like the engine would; remembers what it was asked. Runs: ok, bad, gone, wait."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.said: list[tuple[str, Any]] = []

    def run(self, run: str) -> dict[str, Any]:
        """One summary."""
        status = {"ok": "succeeded", "bad": "failed", "wait": "waiting", "stopped": "cancelled"}.get(run, "")
        if not status and not run.startswith("shop-"):
            raise UnknownRun(f"there is no run '{run}' in this project. `flowbook runs` lists them.")
        status = status or "succeeded"
        return {
            "id": run,
            "workflow": "shop",
            "name": "",
            "status": status,
            "result": value({"total": 3}) if status == "succeeded" else None,
            "error": ERROR if status == "failed" else None,
            "step": "clean" if status == "failed" else "",
            "reason": "",
            "started": 100.0,
            "ended": None if status == "waiting" else 101.5,
            "seq": 4,
            "module": "m",
            "source": "",
            "origin": None,
            "waits": [{"key": "k", "kind": "signal", "name": "ok", "due": None, "since": 1.0}] if run == "wait" else [],
        }

    def runs(self, limit: int, status: str) -> list[dict[str, Any]]:
        """Two summaries."""
        return [self.run("bad"), self.run("ok")]

    def wait(self, run: str, timeout: float | None = None) -> dict[str, Any]:
        """At once."""
        return self.run(run)

    def view(self, run: str, at: int | None = None) -> dict[str, Any]:
        """A small view."""
        summary = self.run(run)
        return {
            **{key: summary[key] for key in ("id", "workflow", "status", "started", "ended", "waits")},
            "steps": {"load": {"status": "done", "attempt": 1}, "clean": {"status": "failed", "attempt": 1}},
            "graph": msgspec.to_builtins(GRAPH),
        }

    def watch(self, run: str | None = None) -> Iterator[dict[str, Any]]:
        """One picture."""
        yield {"view": self.view(str(run))}

    def at(self, run: str, at: int) -> dict[str, Any]:
        """One frame."""
        return {
            "event": at,
            "stack": [FRAME],
            "values": {"rows": value([1, 2]), "df": Value("arrow", type="DataFrame")},
        }

    def history(self, run: str, after: int = 0, limit: int = 0) -> list[e.Recorded]:
        """load done, clean failed."""
        facts = (
            e.RunStarted(RunId(run), "shop", Digest("m"), e.Place("/", "python"), {}, seed="s"),
            e.StepCompleted(Key("load"), "load", value(1)),
            e.StepFailed(Key("clean"), "clean", ERROR),
            e.RunFailed(ERROR, "clean"),
        )
        return [e.Recorded(Seq(n), float(n), fact) for n, fact in enumerate(facts, 1)][: limit or None]

    def module(self, digest: str) -> Module:
        """The one module."""
        return MODULE

    def put_module(self, module: Module) -> str:
        """Accepted."""
        return module.digest

    def start(self, run: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Accepted."""
        self.said.append(("start", (run, *args, kwargs)))
        return self.run(run)

    def signal(self, run: str, name: str, value: Value, id: str = "") -> dict[str, Any]:
        """Accepted."""
        self.said.append(("signal", (name, bytes(value.data), id)))
        return self.run(run)

    def cancel(self, run: str, reason: str = "") -> dict[str, str]:
        """Accepted."""
        return {"outcome": "already done" if run == "ok" else "queued"}

    def sql(self, query: str, limit: int) -> dict[str, Any]:
        """One row."""
        return {"columns": [{"name": "n", "type": "BIGINT"}], "rows": [[42]], "more": False}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """The front doors talk to this."""
    fake = FakeClient(tmp_path)
    monkeypatch.setenv("FLOWBOOK_HOME", str(tmp_path))
    monkeypatch.setattr("flowbook.client.Client", lambda home, start=True: fake, raising=False)
    monkeypatch.setattr(connection_module, "_clients", {})
    return fake


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
