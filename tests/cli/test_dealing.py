"""What one says to runs, asks them and does about edited code: exit codes, documents and words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flowbook.cli import main
from tests.cli.fake import FakeClient

FLOW = """
from flowbook import workflow

@workflow
async def shop(size: int = 1):
    return size
"""


@pytest.fixture
def flow(tmp_path: Path) -> str:
    """A file with one workflow."""
    (tmp_path / "shop.py").write_text(FLOW)
    return str(tmp_path / "shop.py")


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    """The one JSON document on stdout."""
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("typed", "said", "code", "printed"),
    [
        (["terminate", "wait"], ("terminate", ("wait", "", False)), 0, "taken back"),
        (["terminate", "wait", "--now", "--reason", "x"], ("terminate", ("wait", "x", True)), 0, "wait is terminated"),
        (["terminate", "ok"], ("terminate", ("ok", "", False)), 0, "had ended already"),
        (["update", "wait", "add", "1", "two"], ("update", ("add", [b'"1"', b'"two"'], "", True)), 0, "2"),
        (["update", "wait", "add", "1", "2", "3", "4"], None, 2, "run 'wait': update add: too many"),
        (["signal", "wait", "ok", "1"], ("signal", ("ok", b"1", "")), 0, "recorded with wait"),
        (["signal", "wait", "add", "1"], ("signal", ("add", b'"1"', "")), 0, "recorded with wait"),
        (["signal", "ok", "add", "1"], ("signal", ("add", b"1", "")), 0, "recorded with ok"),
        (["update", "wait", "add", "--no-wait", "--id", "u"], ("update", ("add", [], "u", False)), 0, "wait~2"),
        (["update", "wait", "fail"], ("update", ("fail", [], "", True)), 1, "failed: ValueError: too much"),
        (["update", "wait", "refuse"], ("update", ("refuse", [], "", True)), 2, "was rejected: ValueError: too much"),
        (["update", "wait", "nope"], None, 2, "handles no update 'nope'; it handles: add, refuse, fail"),
        (["update", "wait", "ad"], None, 2, "did you mean 'add'? it handles: add, refuse, fail"),
        (["query", "wait", "echo", "1", "two"], None, 0, '[1, "two"]'),
        (["query", "ok", "add", "1", "2", "3", "4"], None, 2, "run 'ok': update add: too many"),
        (["query", "wait", "nope"], None, 2, "it answers: echo"),
        (["query", "nobody", "echo"], None, 2, "no run 'nobody'"),
        (["locals", "wait"], None, 0, "rows = [1, 2]"),
        (["complete", "t", '{"a": 1}'], ("complete", ("t", b'{"a":1}', None)), 0, "run wait is waiting"),
        (["complete", "t"], ("complete", ("t", b"null", None)), 0, "it is completed"),
    ],
)  # fmt: skip
def test_what_is_said(
    client: FakeClient, capsys: pytest.CaptureFixture[str], typed: list[str], said: Any, code: int, printed: str
) -> None:
    assert main(typed) == code
    shown = capsys.readouterr()
    assert printed in (shown.err if code else shown.out)
    assert said is None or said in client.said


def test_a_failure_by_token_may_be_final(client: FakeClient) -> None:
    assert main(["fail", "t", "no paper"]) == 0 and main(["fail", "t", "no paper", "--final"]) == 0
    failures = [told[1][2] for told in client.said]
    assert [(f.message, f.retryable) for f in failures] == [("no paper", True), ("no paper", False)]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["terminate", "wait"], {"outcome": "queued", "id": "wait", "status": "waiting"}),
        (["update", "wait", "add"], {"run": "wait", "status": "completed", "value": 2}),
        (["query", "wait", "echo", "3"], {"run": "wait", "name": "echo", "value": [3]}),
        (["locals", "wait"], {"event": 4}),
        (["complete", "t"], {"id": "wait", "attributes": {}, "obligations": [], "parent": None}),
    ],
)
def test_documents(
    client: FakeClient, capsys: pytest.CaptureFixture[str], typed: list[str], expected: dict[str, Any]
) -> None:
    assert main([*typed, "--json"]) == 0
    found = document(capsys)
    assert {key: found[key] for key in expected} == expected


def test_open_runs_are_checked_against_the_file(
    client: FakeClient, capsys: pytest.CaptureFixture[str], flow: str
) -> None:
    assert main(["check", flow]) == 0
    capsys.readouterr()
    assert main(["check", flow, "--open-runs"]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in shown[-3:]] == [["green", "green"], ["amber", "amber"], ["red", "red"]]
    assert "edited since: load" in shown[-2] and "load  line 7  the history has a timer" in shown[-1]
    assert main(["check", flow, "--open-runs", "--json"]) == 1
    red = document(capsys)["runs"][-1]
    assert (red["fit"], red["step"], red["cell"], red["line"]) == ("red", "load", None, 7)


def test_a_run_is_moved_when_it_fits(client: FakeClient, capsys: pytest.CaptureFixture[str], flow: str) -> None:
    assert main(["move", "amber", flow, "--dry-run"]) == 0 and client.said == []
    assert main(["move", "red", flow]) == 1 and client.said == []
    assert main(["move", "ok", flow]) == 2
    assert 'run "ok" has ended' in capsys.readouterr().err
    assert main(["move", "amber", flow, "--json"]) == 0
    assert client.said == [("move", ("amber", flow))] and document(capsys)["moved"] is True


def test_a_run_is_started_with_options(client: FakeClient, flow: str) -> None:
    options = ["--id", "shop-1", "--timeout", "30m", "--attribute", "who=ada", "--attribute", "n=3"]
    assert main(["run", flow, *options, "--signal", 'go={"a": 1}', "--on-closed", "allow", "--detach"]) == 0
    [(_, ask)] = client.said
    started = ask.params
    assert (started.run, started.timeout, started.attributes) == ("shop-1", 1800.0, {"who": "ada", "n": 3})
    assert (started.on_closed, started.on_conflict, started.signals[0].name) == ("allow", "same", "go")
    assert bytes(started.signals[0].value.data) == b'{"a":1}' and started.signals[0].id
    # Sent twice, it would be a second run.
    assert not ask.repeatable


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--timeout", "soon"], "not a duration"),
        (["--timeout", "0s"], "no time"),
        (["--timeout", "0"], "no time"),
        (["--attribute", "who"], "--attribute name=value"),
        (["--attribute", "who=[1]"], "attributes are text, numbers"),
    ],
)
def test_options_that_make_no_sense(
    client: FakeClient, capsys: pytest.CaptureFixture[str], flow: str, options: list[str], says: str
) -> None:
    assert main(["run", flow, *options]) == 2 and client.said == []
    assert says in capsys.readouterr().err
