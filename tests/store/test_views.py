"""The documented views over what durable execution records, and how a file gets those of this version."""

from __future__ import annotations

import json
from collections.abc import Iterator

import duckdb
import msgspec
import pytest

from flowbook.core import events as e
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, Key, RunId, WorkerId
from flowbook.core.value import NOTHING, Value
from flowbook.store.base import Stop
from flowbook.store.duckdb import Database
from flowbook.store.home import Home
from flowbook.store.local import LocalStore
from tests.store.conftest import group

BROKEN = Failure(type="ValueError", message="no")


def started(run: str, **more: object) -> e.RunStarted:
    return e.RunStarted(RunId(run), "flow", Digest("m"), e.Place("/project", "python"), **more)  # type: ignore[arg-type]


def value(data: object) -> Value:
    body = msgspec.json.encode(data)
    return Value(codec="json", data=msgspec.Raw(body), size=len(body))


@pytest.fixture
def store(home: Home) -> Iterator[LocalStore]:
    store = LocalStore(home)
    yield store
    store.close()


def told(store: LocalStore, query: str) -> list[list[object]]:
    return store.query(query, 100, Stop()).rows


STATUS: dict[str, list[e.AnyEvent]] = {
    "queued": [started("r", queue="gpu")],
    "running": [started("r", queue="gpu"), e.RunBegan()],
    "running ": [started("r"), e.StepScheduled(Key("a"), "load", "gpu")],
    "waiting": [started("r"), e.StepWaiting(Key("a"), "approve")],
    "waiting ": [started("r"), e.ChildStarted(Key("a"), "other", RunId("c"))],
    "running  ": [
        started("r"),
        e.ChildStarted(Key("a"), "other", RunId("c")),
        e.StepCompleted(Key("a"), "other", NOTHING),
    ],
    "paused": [started("r", queue="gpu"), e.RunPaused("why not")],
    "terminated": [started("r"), e.RunTerminated()],
    "continued": [started("r"), e.RunContinued(RunId("r~2"))],
}


@pytest.mark.parametrize("status", STATUS)
def test_the_status_of_a_run(store: LocalStore, status: str) -> None:
    store.commit(group("r", STATUS[status]))
    assert told(store, "select status from runs") == [[status.strip()]]


def test_what_a_run_was_started_with(store: LocalStore) -> None:
    first = started(
        "r~2",
        parent=e.Parent(RunId("p"), Key("k")),
        continued=RunId("r"),
        schedule="nightly",
        attributes={"customer": "ada", "old": 1},
    )
    store.commit(group("r~2", [first, e.AttributesSet(Key("a"), {"customer": "eve", "old": None, "n": 3})]))
    store.commit(group("s", [started("s")]))
    rows = told(store, "select parent, continued, schedule from runs order by id")
    assert rows == [["p", "r", "nightly"], [None, None, None]]
    assert told(store, "select id from runs where attributes ->> 'customer' = 'eve'") == [["r~2"]]
    assert told(store, "select cast(attributes -> 'n' as integer), attributes -> 'old' from runs order by id") == [
        [3, None],
        [None, None],
    ]


def test_steps_that_wait_for_a_queue_or_for_the_world(store: LocalStore) -> None:
    history: list[e.AnyEvent] = [
        started("r"),
        e.StepScheduled(Key("a"), "train", "gpu"),
        e.StepWaiting(Key("b"), "approve"),
        e.StepScheduled(Key("c"), "score", "gpu"),
        e.StepStarted(Key("c"), "score", worker=WorkerId("w")),
        e.ChildStarted(Key("d"), "other", RunId("x")),
        e.StepCompleted(Key("d"), "other", NOTHING),
    ]
    store.commit(group("r", history))
    expected = [["approve", "outside"], ["score", "running"], ["train", "queued"]]
    assert told(store, "select step, status from steps order by step") == expected
    assert told(store, "select step, status from attempts order by step") == expected[:2]
    store.commit(group("r", [e.StepCompleted(Key("b"), "approve", NOTHING), e.RunTerminated()], after=7))
    assert told(store, "select step, status from steps order by step") == [
        ["approve", "done"],
        ["score", "cancelled"],
        ["train", "cancelled"],
    ]


def test_children_and_how_they_ended(store: LocalStore) -> None:
    keys = {name: Key(name) for name in ("done", "broken", "open", "stopped", "onward")}
    asked: list[e.AnyEvent] = [e.ChildStarted(key, "other", RunId(f"c-{name}")) for name, key in keys.items()]
    ended: list[e.AnyEvent] = [
        e.StepCompleted(keys["done"], "other", NOTHING),
        e.StepFailed(keys["broken"], "other", BROKEN),
        e.StepFailed(keys["stopped"], "other", BROKEN),
    ]
    store.commit(group("p", [started("p"), *asked, *ended]))
    closing: dict[str, list[e.AnyEvent]] = {
        "done": [e.RunCompleted(NOTHING)],
        "broken": [e.RunFailed(BROKEN)],
        "open": [],
        "stopped": [e.RunTerminated()],
        "onward": [e.RunContinued(RunId("c-onward~2"))],
    }
    for name, last in closing.items():
        store.commit(group(f"c-{name}", [started(f"c-{name}"), *last]))
    rows = told(store, "select child, workflow, status, ended is not null from children where run = 'p' order by child")
    assert rows == [
        ["c-broken", "other", "failed", True],
        ["c-done", "other", "succeeded", True],
        ["c-onward", "other", "running", True],
        ["c-open", "other", "running", False],
        ["c-stopped", "other", "terminated", True],
    ]


def test_updates_and_their_answers(store: LocalStore) -> None:
    names = ("done", "failed", "new", "no")
    history: list[e.AnyEvent] = [
        started("r"),
        *(e.UpdateReceived(name, "add") for name in names),
        e.UpdateCompleted("done", "add", NOTHING),
        e.UpdateFailed("failed", "add", BROKEN),
        e.UpdateFailed("no", "add", BROKEN, rejected=True),
    ]
    store.commit(group("r", history))
    assert told(store, "select id, name, status, ended is null, error from updates order by id") == [
        ["done", "add", "completed", False, None],
        ["failed", "add", "failed", False, "no"],
        ["new", "add", "received", True, None],
        ["no", "add", "rejected", False, "no"],
    ]


def test_what_a_run_that_has_ended_no_longer_waits_for(store: LocalStore) -> None:
    history: list[e.AnyEvent] = [
        started("r"),
        e.TimerStarted(Key("t"), 1e300, "never"),
        e.UpdateReceived("mine", "add"),
        e.UpdateReceived("next", "add"),
    ]
    store.commit(group("r", history))
    assert told(store, "select label, due, ended, status from timers") == [["never", None, None, "pending"]]
    store.commit(group("r", [e.RunContinued(RunId("r~2"), updates=(e.UpdateReceived("next", "add"),))], after=4))
    assert told(store, "select ended is null, status from timers") == [[False, "cancelled"]]
    assert told(store, "select id, ended is null, status from updates order by id") == [
        ["mine", False, "cancelled"],
        ["next", False, "continued"],
    ]


@pytest.mark.parametrize(
    "before", ["create or replace view runs as select 1 as id", "drop table kept.shown", "drop view updates"]
)
def test_a_file_with_other_views_is_given_those_of_this_version(home: Home, before: str) -> None:
    store = LocalStore(home)
    store.commit(group("r"))
    store.close()
    with duckdb.connect(str(home.database)) as file:
        file.execute(before)
        if "runs" in before:
            file.execute("update kept.shown set digest = 'older'")
    for _ in range(2):
        store = LocalStore(home)
        assert told(store, "select id, status from runs") == [["r", "succeeded"]]
        assert told(store, "select count(*) from updates") == [[0]]
        store.close()


def test_views_are_made_once_and_not_at_each_start(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    Database(home.database).close()
    monkeypatch.setattr(Database, "_create_views", lambda self: pytest.fail("the views are there"))
    Database(home.database).close()


OWED = e.ObligationOpened(
    Key("o"), "create", "operation", work=e.StepRef("create"), begins=Key("k"), undo=e.StepRef("delete"),
    arguments={"size": value("small"), 'odd "name': value(1)},
)  # fmt: skip
CREATED = e.StepCompleted(Key("k"), "create", value("vm-1"))
GAVE_UP = e.ObligationFailed(Key("o"), BROKEN)
RETRIED = e.ObligationRetried(Key("o"), RunId("t"))


@pytest.mark.parametrize(
    ("then", "told_of"),
    [
        ([], ["open", None, None, None, None]),
        ([CREATED], ["open", '"vm-1"', None, None, None]),
        ([CREATED, GAVE_UP, e.RunTerminated()], ["failed", '"vm-1"', "ValueError", None, None]),
        ([GAVE_UP, e.RunTerminated(), RETRIED], ["retrying", None, "ValueError", "t", None]),
        ([GAVE_UP, e.RunTerminated(), RETRIED, GAVE_UP], ["failed", None, "ValueError", None, None]),
        (
            [e.RunTerminated(), e.ObligationSettled(Key("o"), "settled", "by hand")],
            ["settled", None, None, None, "by hand"],
        ),
    ],
)
def test_what_is_owed_with_all_that_is_known_of_it(
    store: LocalStore, then: list[e.AnyEvent], told_of: list[object]
) -> None:
    store.commit(group("r", [started("r"), OWED, *then]))
    assert told(store, "select status, result, error_type, trying, note from obligations") == [told_of]
    ((name, what, step, undo, arguments),) = told(store, "select name, what, step, undo, arguments from obligations")
    assert (name, what, step, undo) == ("create", "operation", "create", "delete")
    assert json.loads(str(arguments)) == {"size": "small", 'odd "name': 1}


def test_the_timer_of_what_is_owed_goes_on_when_its_run_is_terminated(store: LocalStore) -> None:
    timers = [e.TimerStarted(Key(key), 9.0, owed=key == "owed") for key in ("own", "owed")]
    store.commit(group("r", [started("r"), *timers, e.TerminateRequested()]))
    assert told(store, "select key, status from timers order by key") == [["owed", "pending"], ["own", "cancelled"]]
    store.commit(group("r", [e.RunTerminated()], after=4))
    assert told(store, "select distinct status from timers") == [["cancelled"]]
