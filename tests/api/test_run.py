"""A run in one's hand: results, errors, moments, forks, and how they show themselves."""

from __future__ import annotations

import pytest

from flowbook import api
from flowbook.core.events import Origin
from flowbook.core.ids import RunId, Seq
from flowbook.errors import RunCancelled, RunFailed, UnknownRun, UserError
from tests.cli.fake import FakeClient


def test_a_result_or_the_reason_why_not(client: FakeClient) -> None:
    assert api.get_run("ok").result() == {"total": 3}
    with pytest.raises(RunFailed, match=r"step 'clean' failed \(cell 2, line 2\): ZeroDivisionError.*fork"):
        api.get_run("bad").result()
    with pytest.raises(RunCancelled):
        api.get_run("stopped").result()
    with pytest.raises(TimeoutError, match="still waiting"):
        api.get_run("wait").result(timeout=0)
    with pytest.raises(UnknownRun):
        api.get_run("nope")


def test_a_run_says_how_it_is(client: FakeClient) -> None:
    assert repr(api.get_run("ok")) == "<run ok succeeded: {'total': 3}>"
    assert repr(api.get_run("bad")) == "<run bad failed in clean: ZeroDivisionError: division by zero>"
    assert repr(api.runs()).splitlines()[1].startswith("ok succeeded")
    assert repr(api.Run("nope")).startswith("<run nope: no run") or "there is no run" in repr(api.Run("nope"))


def test_runs_are_found_by_their_labels(client: FakeClient) -> None:
    found = api.runs(attributes={"who": "ada", "vip": True}, status="waiting", limit=3)
    assert [run.id for run in found] == ["wait"]
    [(_, ask)] = client.said
    assert (ask.params.limit, ask.params.status) == (3, "waiting")
    assert ask.params.where == ("(attributes ->> '$.\"who\"') = 'ada'", "(attributes ->> '$.\"vip\"') = 'true'")
    with pytest.raises(UserError, match="attribute 'who' is list; attributes are text, numbers or true and false"):
        api.runs(attributes={"who": ["ada"]})
    with pytest.raises(UserError, match='status="open" is not known; it is one of running, waiting'):
        api.runs(status="open")


def test_history_reads_like_a_list(client: FakeClient) -> None:
    lines = repr(api.get_run("bad").history).splitlines()
    assert "load is done" in lines[1] and "clean failed: ZeroDivisionError" in lines[2]


def test_a_moment_has_stack_locals_and_values(client: FakeClient) -> None:
    moment = api.get_run("bad").at(3)
    assert moment.stack[0].line == 2 and moment.locals == {"rows": 3}
    assert moment.values["rows"] == [1, 2] and set(moment.values) == {"rows", "df"}
    assert "cell 2, line 2, in clean" in repr(moment) and "df = <DataFrame>" in repr(moment)


def test_a_fork_says_first_and_starts_then(client: FakeClient) -> None:
    run = api.get_run("bad")
    plan = run.fork.plan(step="clean")
    assert [row.action for row in plan.rows] == ["reuse", "rerun"] and client.said == []
    assert repr(plan).splitlines()[0] == "fork of bad from event 4"
    assert "load   reused" in repr(plan) and "runs again" in repr(plan)
    new = run.fork(step="clean", id="shop-2")
    [(_, (started, *_rest, named))] = client.said
    assert new.id == started == "shop-2"
    assert named["origin"] == Origin(RunId("bad"), Seq(4), ("clean",))


def test_signals_and_cancelling(client: FakeClient) -> None:
    run = api.get_run("wait")
    assert run.signal("ok", {"by": "ada"}, id="1") is run
    assert client.said == [("signal", ("ok", b'{"by":"ada"}', "1"))]
    assert run.cancel() == "queued"


def test_sql_is_a_table(client: FakeClient) -> None:
    assert api.sql("select 42 as n")["n"].tolist() == [42]


def test_a_start_whose_arguments_do_not_fit_is_refused(client: FakeClient) -> None:
    from flowbook.errors import UserError

    @api.workflow
    async def inner(x: int = 1) -> int:
        return x

    with pytest.raises(UserError, match="it is inner"):
        inner.start(1, 2, 3)
