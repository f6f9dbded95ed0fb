"""Runs that share an id, and what one run's facts mean for others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from flowbook.core import events as e
from flowbook.core import messages as m
from flowbook.core.chains import KNOWN_IDS, Address, following, number, root, start_plan
from flowbook.core.consequences import consequences
from flowbook.core.decide import decide
from flowbook.core.evolve import evolve
from flowbook.core.ids import Digest, Key, RunId, Seq
from flowbook.core.state import RunState
from flowbook.core.value import NOTHING
from flowbook.errors import RunConflict, UserError
from tests.core.test_decide import BAD, CLOSED, START, after

FAILED = e.RunFailed(failure=BAD)


@given(st.text(min_size=1), st.integers(1, 50))
def test_the_members_of_a_chain_are_counted(name: str, length: int) -> None:
    run = first = root(RunId(name))
    for place in range(1, length + 1):
        assert (root(run), number(run)) == (first, place)
        run = following(run)


PLANS: dict[str, tuple[RunState | None, dict[str, str], list[tuple[str, type]] | type[Exception]]] = {
    "a new run": (None, {}, [("r", m.StartRun)]),
    "the same": (after(), {}, [("r", m.StartRun)]),
    "one that is open, which is refused": (after(), {"on_conflict": "fail"}, RunConflict),
    "one that is open, in its place": (
        after(),
        {"on_conflict": "terminate_existing"},
        [("r", m.TerminateRun), ("r", m.StartRun)],
    ),
    "one that is open, whatever it does": (after(), {"on_conflict": "use_existing"}, [("r", m.StartRun)]),
    "one that has ended": (after(CLOSED), {}, [("r", m.StartRun)]),
    "one that has ended, again": (after(CLOSED), {"on_closed": "allow"}, [("r~2", m.StartRun)]),
    "one that has succeeded, if it had failed": (after(CLOSED), {"on_closed": "allow_failed"}, [("r", m.StartRun)]),
    "one that has failed, if it had failed": (after(FAILED), {"on_closed": "allow_failed"}, [("r~2", m.StartRun)]),
    "one that has ended, which is refused": (after(CLOSED), {"on_closed": "reject"}, RunConflict),
    "a policy nobody knows": (None, {"on_closed": "maybe"}, UserError),
    "an id that is given out": (None, {"run": "r~2"}, UserError),
}


def test_what_an_open_run_would_mean_is_no_question_to_one_that_has_ended() -> None:
    ((_, told),) = start_plan(after(CLOSED), replace(START, on_conflict="fail"))
    assert decide(after(CLOSED), told, 1.0) == []


@pytest.mark.parametrize("case", PLANS)
def test_a_start_means(case: str) -> None:
    current, changes, expected = PLANS[case]
    message = replace(START, **changes)
    if isinstance(expected, type):
        with pytest.raises(expected):
            start_plan(current, message)
    else:
        assert [(run, type(told)) for run, told in start_plan(current, message)] == expected


PARENT = e.Parent(RunId("boss"), Key("call"))
CHILD = e.ChildStarted(key=Key("c"), step="child", run=RunId("r.c"))


def child_of(close: str) -> e.ChildStarted:
    return replace(CHILD, close=close)


def heir(close: str, *events: e.AnyEvent) -> RunState:
    return after(*events, start=replace(START, children={RunId("kid"): close}))


def as_child(*events: e.AnyEvent) -> RunState:
    return after(*events, start=replace(START, parent=PARENT))


MEANINGS: dict[str, tuple[RunState, e.AnyEvent, list[tuple[str, Address, type]]]] = {
    "nothing": (after(), CLOSED, []),
    "a child begins": (after(), CHILD, [("r.c", "run", m.StartRun)]),
    "a child is given up": (after(CHILD), e.StepCancelled(key=Key("c"), step="child"), [("r.c", "heir", m.CancelRun)]),
    "a step is given up": (after(), e.StepCancelled(key=Key("c"), step="s"), []),
    "a signal is sent": (
        after(),
        e.SignalSent(key=Key("g"), step="signal", run=RunId("x"), name="go", value=NOTHING),
        [("x", "id", m.SendSignal)],
    ),
    "the parent ends": (after(child_of("cancel")), CLOSED, [("r.c", "heir", m.CancelRun)]),
    "the parent ends, and its child with it": (after(child_of("terminate")), FAILED, [("r.c", "heir", m.TerminateRun)]),
    "the parent ends, its child goes on": (after(child_of("abandon")), CLOSED, []),
    "the parent goes on": (after(CHILD), e.RunContinued(run=RunId("r~2")), [("r~2", "run", m.StartRun)]),
    "the parent that inherited a child ends": (heir("cancel"), CLOSED, [("kid", "heir", m.CancelRun)]),
    "the parent that inherited a child fails": (heir("terminate"), FAILED, [("kid", "heir", m.TerminateRun)]),
    "the parent whose inherited child has ended": (heir("cancel", e.ChildLeft(RunId("kid"))), CLOSED, []),
    "the child ends": (as_child(), CLOSED, [("boss", "heir", m.ChildEnded)]),
    "the child fails": (as_child(), FAILED, [("boss", "heir", m.ChildEnded)]),
    "the child is cancelled": (as_child(), e.RunCancelled(), [("boss", "heir", m.ChildEnded)]),
    "the child is terminated": (as_child(), e.RunTerminated(), [("boss", "heir", m.ChildEnded)]),
    "the child goes on as a new run": (as_child(), e.RunContinued(run=RunId("r~2")), [("r~2", "run", m.StartRun)]),
}


@pytest.mark.parametrize("case", MEANINGS)
def test_elsewhere_it_means(case: str) -> None:
    state, event, expected = MEANINGS[case]
    assert [(c.run, c.to, type(c.messages[0])) for c in consequences(state, event)] == expected


def test_a_run_that_goes_on_hands_over_all_it_has() -> None:
    state = as_child(e.AttributesSet(key=Key("a"), attributes={"customer": "x"}), e.RunMoved(module=Digest("new")))
    unread = e.SignalReceived(name="go", value=NOTHING, id="1")
    update = e.UpdateReceived(id="u", name="add")
    cancel = e.CancelRequested("enough", "parent")
    event = e.RunContinued(run=RunId("r~2"), signals=(unread,), updates=(update,), cancel=cancel)
    ((run, (start, signal, sent, stop), _, _),) = consequences(state, event)
    assert isinstance(start, m.StartRun) and run == "r~2"
    assert (start.parent, start.continued, start.module) == (PARENT, "r", "new")
    assert start.attributes == {"customer": "x"}
    assert signal == m.SendSignal("go", NOTHING, "1") and sent == m.SendUpdate("u", "add")
    assert stop == m.CancelRun("enough", "parent", carried=True)


def test_open_children_go_along_unless_they_are_abandoned() -> None:
    kids = [replace(child_of(close), key=Key(close), run=RunId(close)) for close in ("cancel", "terminate", "abandon")]
    ended = e.ChildStarted(key=Key("ended"), step="child", run=RunId("ended"))
    done = e.StepCompleted(key=Key("ended"), step="child", value=NOTHING)
    state = after(*kids, ended, done, start=replace(START, children={RunId("kid"): "cancel"}))
    ((_, (start,), _, _),) = consequences(state, e.RunContinued(run=RunId("r~2")))
    assert isinstance(start, m.StartRun)
    assert start.children == {"kid": "cancel", "cancel": "cancel", "terminate": "terminate"}
    assert after(start=start).inherited == start.children


def heard(*ids: str) -> list[e.AnyEvent]:
    return [e.SignalReceived(name="go", value=NOTHING, id=sent) for sent in ids]


def goes_on(state: RunState, *unread: e.SignalReceived) -> RunState:
    """The run that goes on from one in this state."""
    ((_, (start, *_), _, _),) = consequences(state, e.RunContinued(run=following(state.run), signals=unread))
    assert isinstance(start, m.StartRun)
    return after(start=start)


def test_what_was_sent_to_a_run_is_known_to_those_that_go_on_from_it() -> None:
    received, ended = e.UpdateReceived(id="u", name="add"), e.UpdateCompleted(id="u", name="add", value=NOTHING)
    left = e.UpdateReceived(id="left", name="add")
    third = goes_on(goes_on(after(*heard("a", "unread"), received, ended, left), heard("unread")[0]))
    assert third.updates_before == {"u": "r"}
    assert third.has_heard("a") and third.has_ended("u")
    assert not third.has_heard("unread") and not third.has_ended("left")
    assert decide(third, m.SendSignal("go", NOTHING, "a"), 9.0) == decide(third, m.SendUpdate("u", "add"), 9.0) == ()
    assert list(decide(third, m.SendSignal("go", NOTHING, "unread"), 9.0)) == heard("unread")


@given(st.lists(st.integers(0, 3 * KNOWN_IDS), max_size=8))
def test_a_chain_remembers_all_of_two_histories_and_little_more(lengths: list[int]) -> None:
    state, sent = after(), []
    for place, length in enumerate(lengths):
        before, own = sent, [f"{place}-{n}" for n in range(length)]
        sent = [*sent, *own]
        state = goes_on(after(*heard(*own), start=_start_of(state)))
        assert len(state.signals_before) <= max(KNOWN_IDS, length)
        assert all(map(state.has_heard, [*before, *own][-max(KNOWN_IDS, length) :]))


def _start_of(state: RunState) -> m.StartRun:
    return replace(START, run=state.run, continued=RunId("x"), signals_before=tuple(state.signals_before))


def test_an_inherited_child_that_ends_is_struck_off() -> None:
    state = after(CHILD, start=replace(START, children={RunId("kid"): "cancel"}))
    assert decide(state, m.ChildEnded(CHILD.key, RunId("kid~4"), value=NOTHING), 5.0) == [e.ChildLeft(RunId("kid"))]
    assert decide(state, m.ChildEnded(CHILD.key, RunId("stranger")), 5.0) == []


def test_the_end_of_a_run_says_whose_it_was() -> None:
    ((_, (told,), _, _),) = consequences(as_child(), FAILED)
    assert told == m.ChildEnded(PARENT.key, RunId("r"), failure=BAD)


def test_a_run_is_ended_before_the_one_in_its_place_begins() -> None:
    _, (_, later) = start_plan(after(), replace(START, on_conflict="terminate_existing"))
    assert isinstance(later, m.StartRun)
    ((run, now),) = start_plan(after(e.RunTerminated()), later)
    assert isinstance(now, m.StartRun) and run == now.run == "r~2"


def test_what_is_sent_twice_is_one_signal() -> None:
    event = e.SignalSent(key=Key("g"), step="signal", run=RunId("x"), name="go", value=NOTHING)
    ((_, (first,), _, _),) = consequences(after(), event)
    ((_, (second,), _, _),) = consequences(after(), event)
    assert isinstance(first, m.SendSignal) and first == second and first.id


def test_the_state_is_left_alone() -> None:
    state = after(CHILD)
    consequences(state, CLOSED)
    assert state == after(CHILD)
    evolve(state, e.Recorded(Seq(3), 3.0, CLOSED))
    assert consequences(state, CLOSED) == []


def test_ids_of_internal_streams_are_no_runs() -> None:
    with pytest.raises(UserError, match=r"begin with \$"):
        start_plan(None, replace(START, run=RunId("$schedule/x")))
