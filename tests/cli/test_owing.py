"""What runs owe outside, as it is listed, and what people say of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

import flowbook
from flowbook.cli import main
from flowbook.errors import UserError
from tests.cli.fake import FakeClient, value

ROW = {
    "run": "stopped", "status": "cancelled", "name": "create_vm", "what": "operation", "since": 1.0, "failed": True,
    "key": "/owe.create_vm@1", "step": "create_vm", "arguments": '{"size": "small"}', "result": None,
    "undo": "delete_vm", "error_type": "OutcomeUnknown", "error_message": "who\nknows", "trying": None,
}  # fmt: skip
OWED = {
    "key": "/owe.create_vm@1", "name": "create_vm", "what": "operation", "since": 1.0, "failed": True,
    "step": "create_vm", "arguments": {"size": value("small")}, "result": value("vm-1"), "undo": "delete_vm",
    "error": "OutcomeUnknown: who knows", "trying": "",
}  # fmt: skip


def listed(client: FakeClient, monkeypatch: pytest.MonkeyPatch, *rows: dict[str, Any]) -> None:
    columns = [{"name": name, "type": ""} for name in ROW]
    answer = {"columns": columns, "rows": [list(row.values()) for row in rows], "more": False}
    monkeypatch.setattr(client, "sql", lambda query, limit, timeout: answer)


@pytest.fixture
def owing(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What every run of this client owes."""
    found: list[dict[str, Any]] = [dict(OWED)]
    run = client.run
    monkeypatch.setattr(client, "run", lambda id: {**run(id), "obligations": found})
    return found


def test_all_that_is_known_is_listed(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed(client, monkeypatch, ROW, {**ROW, "run": "bad", "result": '"vm-1"', "trying": "bad.retry-1"})
    assert main(["obligations"]) == 0
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert told[0][:4] == ["stopped", "(cancelled)", "owes", "operation"]
    assert told[1:6] == [
        ["key", "/owe.create_vm@1"],
        ["began", "create_vm(size='small')"],
        ["returned", "not", "known"],
        ["undo", "delete_vm"],
        ["failed", "OutcomeUnknown:", "who", "knows"],
    ]
    assert ["returned", "'vm-1'"] in told and ["retrying", "bad.retry-1"] in told
    assert [line[:3] for line in told[-2:]] == [["try", "again", "with"], ["or", "see", "to"]]


def test_the_list_as_a_document(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed(client, monkeypatch, ROW)
    assert main(["obligations", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{**ROW, "arguments": {"size": "small"}}]


def test_nothing_owed_is_said(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed(client, monkeypatch)
    assert main(["obligations"]) == 0 and capsys.readouterr().out == "no run owes anything outside\n"


@pytest.mark.parametrize("key", [(), ("create_vm",), ("/owe.create_vm@1",)])
def test_it_is_settled_with_a_note(
    client: FakeClient, owing: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], key: tuple[str, ...]
) -> None:
    assert main(["obligations", "settle", "stopped", *key, "--note", "deleted it"]) == 0
    assert capsys.readouterr().out == "operation create_vm of stopped is settled\n"
    asked = client.said[-1][1].params
    assert (asked.run, asked.obligation, asked.note) == ("stopped", "/owe.create_vm@1", "deleted it")
    assert main(["obligations", "settle", "stopped", *key, "--note", "deleted it", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "settled"


def test_it_is_tried_again_by_another_run(
    client: FakeClient, owing: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["obligations", "retry", "stopped"]) == 0
    assert "stopped.retry-1 tries to take back operation create_vm" in capsys.readouterr().out
    assert main(["obligations", "retry", "stopped", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trying"] == "stopped.retry-1"


def test_what_is_meant_has_to_be_clear(
    client: FakeClient, owing: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["obligations", "retry", "stopped", "network"]) == 2
    assert 'there is no "network": operation create_vm has the key' in capsys.readouterr().err
    owing.append({**OWED, "key": "/owe.create_vm@2"})
    assert main(["obligations", "retry", "stopped"]) == 2
    assert "say which is meant" in capsys.readouterr().err
    assert main(["obligations", "retry", "stopped", "create_vm"]) == 2
    assert 'there is more than one "create_vm"' in capsys.readouterr().err
    owing.clear()
    assert main(["obligations", "settle", "stopped", "--note", "x"]) == 2
    assert "the run owes nothing outside" in capsys.readouterr().err


def test_an_ended_run_is_shown_with_what_it_owes(
    client: FakeClient, owing: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "stopped"]) == 0
    assert "what it still owes outside:  flowbook obligations" in capsys.readouterr().out
    assert main(["show", "stopped", "--json"]) == 0
    (owed,) = json.loads(capsys.readouterr().out)["obligations"]
    assert (owed["name"], owed["arguments"], owed["result"]) == ("create_vm", {"size": "small"}, "vm-1")


def test_a_run_gives_what_it_owes(client: FakeClient, owing: list[dict[str, Any]]) -> None:
    (owed,) = flowbook.Run("stopped").obligations
    assert (owed.key, owed.name, owed.what, owed.failed) == ("/owe.create_vm@1", "create_vm", "operation", True)
    assert (owed.step, owed.arguments, owed.result, owed.undo) == (
        "create_vm", {"size": "small"}, "vm-1", "delete_vm",
    )  # fmt: skip
    assert owed.error == "OutcomeUnknown: who knows" and owed.trying is None and owed["since"] == owed.since == 1.0
    assert owed.retry().id == "stopped.retry-1"
    assert "create_vm(size='small') returned 'vm-1'; OutcomeUnknown: who knows" in repr(owed)


def test_what_is_settled_meanwhile_is_not_tried_again(client: FakeClient, owing: list[dict[str, Any]]) -> None:
    (owed,) = flowbook.Run("stopped").obligations
    owing.clear()
    with pytest.raises(UserError, match='"create_vm" is settled already'):
        owed.retry()
