"""A run in one's hand: what it is told and asked, how it was started, whether it fits other code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import flowbook
from flowbook import api
from flowbook.api.connection import connect
from flowbook.api.options import Options, taken
from flowbook.client.queue_asks import started
from flowbook.core.events import Place
from flowbook.core.ids import Digest, RunId
from flowbook.core.messages import StartRun
from flowbook.errors import RunClosed, RunTerminated, UpdateFailed, UpdateRejected, UserError
from tests.cli.fake import FakeClient


def test_updates_give_their_value_or_raise(client: FakeClient) -> None:
    run = api.get_run("wait")
    assert run.update("add", 1, id="u") == 2
    with pytest.raises(UpdateRejected, match="'refuse' was rejected: ValueError: too much"):
        run.update("refuse")
    with pytest.raises(UpdateFailed, match="'fail' failed: ValueError: too much") as raised:
        run.update("fail")
    assert not isinstance(raised.value, UpdateRejected)


def test_an_update_that_was_sent_is_asked_of_the_run_that_recorded_it(client: FakeClient) -> None:
    sent = api.get_run("wait").start_update("add", 1, id="u")
    assert [what for what, _ in client.said] == ["update"]
    assert sent.result() == 2 and client.said[1:] == [("result", ("wait~2", "u"))]


def test_an_update_without_an_id_draws_one(client: FakeClient) -> None:
    run = api.get_run("wait")
    run.update("add")
    run.update("add")
    ids = {told[1][2] for told in client.said if told[0] == "update"}
    assert len(ids) == 2 and "" not in ids


def test_queries_variables_and_stack(client: FakeClient) -> None:
    run = api.get_run("wait")
    assert run.query("echo", 1, "two") == [1, "two"]
    with pytest.raises(UserError, match="it answers: echo"):
        run.query("nope")
    assert run.locals()["rows"] == [1, 2] and run.stack[0].function == "clean"


def test_a_run_knows_its_labels_and_relatives(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = {**client.run("wait"), "parent": "ok", "continued": "bad", "attributes": {"who": "ada"}}
    summary["memo"] = {"note": connect().encode([1], "note")}
    monkeypatch.setattr(client, "run", lambda run: summary)
    run = api.Run("wait")
    assert (run.parent.id, run.continued.id, run.attributes, run.memo) == ("ok", "bad", {"who": "ada"}, {"note": [1]})
    assert run.children == [] and run.obligations == []


def test_a_terminated_run_has_no_result(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = {**client.run("stopped"), "status": "terminated", "reason": "stuck"}
    monkeypatch.setattr(client, "wait", lambda run, timeout=None: ended)
    with pytest.raises(RunTerminated, match="was terminated: stuck"):
        api.Run("stopped").result()


def test_terminating(client: FakeClient) -> None:
    run = api.get_run("wait")
    assert run.terminate("stuck") == "queued" and run.terminate(now=True) == "terminated"
    assert client.said == [("terminate", ("wait", "stuck", False)), ("terminate", ("wait", "", True))]


def test_tokens(client: FakeClient) -> None:
    flowbook.complete("t", {"a": 1})
    flowbook.fail("t", "no paper", retryable=False)
    assert client.said[0] == ("complete", ("t", b'{"a":1}', None))
    failure = client.said[1][1][2]
    assert (failure.message, failure.retryable) == ("no paper", False)


def test_fits(client: FakeClient, tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text("from flowbook import workflow\n\n@workflow\nasync def shop(): ...\n")
    found = flowbook.check_runs(file)
    assert [(fit.run, bool(fit)) for fit in found] == [("green", True), ("amber", True), ("red", False)]
    assert repr(found).splitlines()[1:] == [
        "amber amber: done already and edited since: load",
        "red red: the history has a timer (at /load@1). Do this (load at line 7)",
    ]
    assert api.Run("amber").move_to(file).fit == "amber" and client.said == [("move", ("amber", str(file)))]
    with pytest.raises(RunClosed, match="fork it instead"):
        api.get_run("ok").check(file)


def test_options_are_taken_unless_the_workflow_has_a_parameter_of_that_name() -> None:
    keywords: dict[str, Any] = {"timeout": "5m", "memo": {"a": 1}, "size": 3}
    assert taken(keywords, {"memo", "size"}) == Options(timeout="5m")
    assert keywords == {"memo": {"a": 1}, "size": 3}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (Options(on_conflict="maybe"), 'on_conflict="maybe" is not known; it is one of same, use_existing'),
        (Options(on_closed="maybe"), 'on_closed="maybe" is not known'),
        (Options(signal="go"), r"write signal=\(name, value\)"),  # type: ignore[arg-type]
        (Options(attributes={"who": []}), "attribute 'who' is list"),
        (Options(timeout="soon"), "not a duration"),
        (Options(priority=3), "only in a queue"),
    ],
)
def test_options_that_make_no_sense(client: FakeClient, options: Options, says: str) -> None:
    with pytest.raises(UserError, match=says):
        options.checked(connect())


@pytest.mark.parametrize(
    ("policies", "repeatable"),
    [
        ({}, True),
        ({"on_conflict": "use_existing"}, True),
        ({"on_conflict": "terminate_existing"}, False),
        ({"on_conflict": "fail"}, False),
        ({"on_closed": "allow"}, False),
        ({"on_closed": "allow_failed"}, False),
        ({"on_closed": "reject"}, False),
    ],
)
def test_a_start_is_sent_again_only_where_that_is_the_same_start(policies: dict[str, str], repeatable: bool) -> None:
    message = StartRun(RunId("r"), "shop", Digest("m"), Place("/", "python"), **policies)
    assert started(message).repeatable is repeatable
