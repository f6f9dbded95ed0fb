"""Which runs are listed: the condition in SQL, and what it finds."""

from __future__ import annotations

import json

import duckdb
import pytest

from flowbook.cli import main
from flowbook.cli.selection import conditions
from flowbook.core import events as e
from flowbook.core.ids import Key, RunId, Seq
from flowbook.errors import UserError
from tests.cli.fake import FakeClient


@pytest.mark.parametrize(
    ("where", "labels", "found"),
    [
        (None, ["who=ada"], ["a"]),
        (None, ["n=3"], ["a"]),
        (None, ["n=3.5"], ["b"]),
        (None, ["vip=true"], ["a"]),
        (None, ["who=ada", "n=3.5"], []),
        (None, ["who=o'hara"], ["b"]),
        (None, ["a.b=1"], ["b"]),
        (None, ["unknown=1"], []),
        ("seconds > 60", [], ["b"]),
        ("seconds > 60 or seconds < 2 -- any", ["who=ada"], ["a"]),
    ],
)
def test_conditions_find_runs(where: str | None, labels: list[str], found: list[str]) -> None:
    rows = [("a", 1.0, {"who": "ada", "n": 3, "vip": True}), ("b", 99.0, {"who": "o'hara", "n": 3.5, "a.b": 1})]
    with duckdb.connect() as base:
        base.execute("create table runs(id varchar, seconds double, attributes json)")
        base.executemany("insert into runs values (?, ?, ?)", [(r, s, json.dumps(a)) for r, s, a in rows])
        met = " and ".join(f"({condition}\n)" for condition in conditions(where, labels))
        query = f"select id from runs where {met} order by id"
        assert [row[0] for row in base.execute(query).fetchall()] == found


def test_nothing_asked_for_is_no_condition() -> None:
    assert conditions(None, []) == []


@pytest.mark.parametrize("label", ["who", "=3", 'a"b=1'])
def test_labels_that_make_no_sense(label: str) -> None:
    with pytest.raises(UserError, match="label"):
        conditions(None, [label])


def test_runs_are_chosen(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["runs", "--where", "workflow = 'shop'", "--attribute", "who=ada", "--status", "waiting", "--limit", "3"]
    assert main([*typed, "--json"]) == 0
    assert [run["id"] for run in json.loads(capsys.readouterr().out)] == ["wait"]
    [(_, ask)] = client.said
    assert (ask.params.limit, ask.params.status, ask.params.timeout) == (3, "waiting", 60.0)
    assert ask.params.where[1:] == ("workflow = 'shop'",) and "who" in ask.params.where[0]


def test_children_are_listed(
    client: FakeClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["children", "ok"]) == 0 and "ok has started no children" in capsys.readouterr().out
    child = e.ChildStarted(Key("k"), "shop", RunId("wait"))
    monkeypatch.setattr(client, "history", lambda *_: [e.Recorded(Seq(1), 1.0, child)])
    assert main(["children", "ok"]) == 0 and "wait" in capsys.readouterr().out
    assert main(["children", "ok", "--json"]) == 0 and json.loads(capsys.readouterr().out)[0]["id"] == "wait"
