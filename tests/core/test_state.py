"""What facts add up to: statuses, what is waited for, and what is due."""

from __future__ import annotations

import pytest

from flowbook.core import events as e
from flowbook.core.due import NOTHING_DUE, Due, due
from flowbook.core.ids import Key
from flowbook.core.value import NOTHING
from tests.core.test_decide import AWAITED, CLOSED, RECEIVED, after, again, begun, done, timer

DROPPED = e.SignalDropped(key=Key("s1"), name="go")
SECOND = e.SignalAwaited(key=Key("s2"), name="go")

STATUSES: dict[str, tuple[tuple[e.AnyEvent, ...], str]] = {
    "just started": ((), "running"),
    "a step runs": ((begun(),), "running"),
    "a step runs beside a timer": ((timer(), begun()), "running"),
    "a retry is to come beside a timer": ((timer(), begun(), again()), "running"),
    "only a timer is left": ((begun(), timer(), done()), "waiting"),
    "a signal is awaited": ((AWAITED,), "waiting"),
    "the signal came": ((AWAITED, RECEIVED), "running"),
    "the signal came before": ((RECEIVED, AWAITED), "running"),
    "the signal came once, two wait": ((RECEIVED, AWAITED, SECOND), "waiting"),
    "a signal meant for one that gave up goes to the next": ((AWAITED, RECEIVED, SECOND, DROPPED), "running"),
    "a signal meant for one that gave up is kept": ((AWAITED, RECEIVED, DROPPED, SECOND), "running"),
    "the timer fired": ((timer(), e.TimerFired(key=Key("t"))), "running"),
    "paused": ((timer(), e.RunPaused(reason="x")), "paused"),
    "resumed": ((timer(), e.RunPaused(reason="x"), e.RunResumed()), "waiting"),
    "succeeded": ((CLOSED,), "succeeded"),
    "cancelled": ((e.CancelRequested(), e.RunCancelled()), "cancelled"),
}


@pytest.mark.parametrize("case", STATUSES)
def test_status(case: str) -> None:
    history, status = STATUSES[case]
    assert after(*history).status == status


def test_the_last_wake_up_is_remembered() -> None:
    assert after(begun(), done(), timer(), AWAITED).woken == 3


def test_a_closed_run_keeps_nothing_that_lives() -> None:
    state = after(begun(), timer(), AWAITED, RECEIVED, CLOSED)
    assert not (state.steps or state.timers or state.waiters or state.settled or state.unread)
    assert list(state.signals) == ["x"]


def test_what_is_due() -> None:
    other = e.TimerStarted(key=Key("u"), due=5.0)
    state = after(timer(10.0), other, begun(), again(at=30.0))
    assert due(state, 1.0) == Due(next=5.0)
    assert due(state, 12.0) == Due((Key("u"), Key("t")), next=30.0)
    assert due(state, 30.0) == Due((Key("u"), Key("t")), retry=True)


@pytest.mark.parametrize("last", [CLOSED, e.RunPaused(reason="x")])
def test_nothing_is_due_in_a_run_that_does_not_run(last: e.AnyEvent) -> None:
    assert due(after(timer(), begun(), again(), last), 1e9) == NOTHING_DUE


def test_a_reused_step_is_settled() -> None:
    reused = e.StepReused(key=Key("k"), step="s", value=NOTHING)
    assert Key("k") in after(reused).settled
