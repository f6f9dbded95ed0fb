"""Policy of what people do about what a run owes: who may settle it, what tries again, and what its end means."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flowbook.core import events as e
from flowbook.core import messages as m
from flowbook.core.consequences import consequences
from flowbook.core.decide import decide
from flowbook.core.ids import Key, RunId
from flowbook.core.keys import fingerprint
from flowbook.core.owing import TAKE_BACK
from flowbook.core.state import RunState
from flowbook.core.value import Value
from flowbook.errors import UserError
from tests.core.test_decide import BAD, CLOSED, after, begun


def value(data: object) -> Value:
    body = msgspec.json.encode(data)
    return Value(codec="json", data=msgspec.Raw(body), size=len(body))


OWES = e.ObligationOpened(
    key=Key("o"), name="create", what="operation", work=e.StepRef("create", "cloud:create"), begins=Key("k"),
    arguments={"size": value("small")}, undo=e.StepRef("delete", "cloud:delete"), every=2.0,
)  # fmt: skip
CREATED = e.StepCompleted(key=Key("k"), step="create", value=value("vm-1"))
GAVE_UP = e.ObligationFailed(key=Key("o"), failure=BAD)
FIRST = RunId(f"r.retry-{fingerprint('o')}-1")
RETRIED = e.ObligationRetried(key=Key("o"), run=FIRST)
SETTLE = m.SettleObligation("create", "deleted it")


def told(state: RunState, message: Any) -> e.AnyEvent:
    (event,) = decide(state, message, 5.0)
    return event


@pytest.mark.parametrize("before", [(OWES, CLOSED), (OWES, GAVE_UP), (OWES, GAVE_UP, CLOSED), (OWES, CLOSED, RETRIED)])
@pytest.mark.parametrize("named", ["", "create", "o"])
def test_what_nobody_takes_care_of_is_settled_by_hand(before: tuple[e.AnyEvent, ...], named: str) -> None:
    event = told(after(*before), m.SettleObligation(named, "deleted it"))
    assert event == e.ObligationSettled(key=Key("o"), outcome="settled", note="deleted it")
    assert not after(*before, event).obligations


@pytest.mark.parametrize(
    ("before", "message", "why"),
    [
        ((), SETTLE, "owes nothing outside"),
        ((OWES,), SETTLE, "takes care of \"create\" itself. Cancel or terminate it first"),
        ((OWES,), m.RetryObligation("o"), "takes care of \"create\" itself"),
        ((OWES, CLOSED), m.SettleObligation("delete", "x"), "\"delete\" is none of them: \"create\" has the key o"),
        ((OWES, CLOSED), m.SettleObligation("o", " "), "a note is recorded"),
        ((OWES, CLOSED, RETRIED), m.RetryObligation("o"), f'"{FIRST}" is trying to take "create" back now'),
        ((e.ObligationOpened(Key("o"), "job"), CLOSED), m.RetryObligation(""), "nothing is recorded that would take"),
        ((OWES, e.ObligationOpened(Key("p"), "create"), CLOSED), SETTLE, "\"create\" is more than one of them"),
        ((OWES, e.ObligationOpened(Key("p"), "job"), CLOSED), m.RetryObligation(""), "say which is meant"),
    ],
)  # fmt: skip
def test_what_is_not_for_people_to_say_is_refused(before: tuple[e.AnyEvent, ...], message: Any, why: str) -> None:
    with pytest.raises(UserError) as raised:
        decide(after(*before), message, 5.0)
    assert why in str(raised.value)


def test_a_run_that_nobody_knows_owes_nothing() -> None:
    with pytest.raises(UserError, match="no run has this id"):
        decide(RunState(), SETTLE, 5.0)


def test_it_is_tried_again_by_a_child_run_with_all_that_is_known() -> None:
    state = after(OWES, begun(), CREATED, GAVE_UP, CLOSED)
    event = told(state, m.RetryObligation("create"))
    assert event == RETRIED
    ((to, (start,), answers, _),) = consequences(state, RETRIED)
    assert isinstance(start, m.StartRun)
    assert (to, answers, start.run) == (FIRST, "o", FIRST)
    assert (start.workflow, start.module) == (TAKE_BACK, state.module)
    assert start.parent == e.Parent(RunId("r"), Key("o"), "abandon")
    assert {name: given for name, given in start.arguments.items() if name != "owed"} == {
        "argument size": value("small"),
        "result": value("vm-1"),
    }


def test_the_end_of_the_trial_says_what_became_of_it() -> None:
    state = after(OWES, CLOSED, RETRIED)
    assert told(state, m.ChildEnded(Key("o"), FIRST)) == e.ObligationSettled(key=Key("o"), outcome="cancelled")
    failed = told(state, m.ChildEnded(Key("o"), FIRST, failure=BAD))
    assert failed == GAVE_UP
    again = told(after(OWES, CLOSED, RETRIED, failed), m.RetryObligation("o"))
    assert isinstance(again, e.ObligationRetried) and again.run.endswith("-2")


def test_the_end_of_another_trial_says_nothing() -> None:
    assert decide(after(OWES, CLOSED, RETRIED), m.ChildEnded(Key("o"), RunId("other")), 5.0) == ()
    settled = e.ObligationSettled(key=Key("o"), outcome="settled", note="x")
    assert decide(after(OWES, CLOSED, RETRIED, settled), m.ChildEnded(Key("o"), FIRST), 5.0) == ()
