"""Laws that hold for every run, whatever is said to it: random messages, in any order, at any time."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from flowbook.core import events as e
from flowbook.core import messages as m
from flowbook.core.decide import decide
from flowbook.core.due import NOTHING_DUE, due
from flowbook.core.evolve import evolve, fold
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, Key, RunId, Seq, WorkerId
from flowbook.core.keys import fingerprint
from flowbook.core.retry import RetryPolicy
from flowbook.core.state import RunState
from flowbook.core.value import NOTHING
from flowbook.errors import FlowbookError
from flowbook.store.base import decode_recorded, entry

keys = st.sampled_from([Key("a"), Key("b"), Key("c")])
names = st.sampled_from(["go", "stop"])
attempts = st.integers(1, 4)
workers = st.sampled_from([WorkerId("w1"), WorkerId("w2")])
policies = st.builds(RetryPolicy, maximum_attempts=st.integers(0, 4), jitter=st.sampled_from([0.0, 0.5]))
BAD = Failure("ValueError", "no")


def first_trial(key: Key) -> RunId:
    """The run that tries first to take back what the run ``r`` owes."""
    return RunId(f"r.retry-{fingerprint(key)}-1")


messages: st.SearchStrategy[m.AnyMessage] = st.one_of(
    st.builds(e.StepStarted, key=keys, step=st.just("s"), attempt=attempts, worker=workers),
    st.builds(e.StepCompleted, key=keys, step=st.just("s"), value=st.just(NOTHING), attempt=attempts),
    st.builds(m.AttemptFailed, key=keys, step=st.just("s"), attempt=attempts, failure=st.just(BAD), retry=policies),
    st.builds(e.StepCancelled, key=keys, step=st.just("s")),
    st.builds(e.StepReused, key=keys, step=st.just("s"), value=st.just(NOTHING)),
    st.builds(e.StepSkipped, key=keys, step=st.just("s")),
    st.builds(e.TimerStarted, key=keys, due=st.floats(0, 60), owed=st.booleans()),
    st.builds(e.TimerCancelled, key=keys),
    st.builds(m.TimerDue, key=keys),
    st.builds(e.SignalAwaited, key=keys, name=names),
    st.builds(e.SignalDropped, key=keys, name=names),
    st.builds(m.SendSignal, name=names, value=st.just(NOTHING), id=st.sampled_from(["", "x", "y"])),
    st.builds(m.WorkerLost, worker=workers),
    st.just(m.CancelRun()),
    st.just(m.ResumeRun()),
    st.builds(m.TerminateRun, now=st.booleans()),
    st.builds(m.MoveRun, module=st.just(Digest("n"))),
    st.builds(e.StepScheduled, key=keys, step=st.just("s"), queue=st.just("gpu")),
    st.builds(e.StepWaiting, key=keys, step=st.just("s"), attempt=attempts, expires=st.sampled_from([0.0, 9.0])),
    st.builds(e.StepHeartbeat, key=keys, step=st.just("s"), attempt=attempts, details=st.just(NOTHING)),
    st.builds(m.CompleteStep, key=keys, attempt=attempts, value=st.just(NOTHING)),
    st.builds(m.StepExpired, key=keys),
    st.builds(e.ChildStarted, key=keys, step=st.just("c"), run=st.just(RunId("r.c"))),
    st.builds(
        m.ChildEnded, key=keys, run=st.sampled_from([RunId("r.c"), RunId("x")]), failure=st.sampled_from([None, BAD])
    ),
    st.builds(e.SignalSent, key=keys, step=st.just("g"), run=st.just(RunId("x")), name=names, value=st.just(NOTHING)),
    st.builds(e.CancelSent, key=keys, step=st.just("h"), run=st.just(RunId("x"))),
    st.builds(m.SignalDelivered, key=keys, failure=st.sampled_from([None, BAD])),
    st.builds(m.SendUpdate, id=st.sampled_from(["u", "v"]), name=names),
    st.builds(e.UpdateCompleted, id=st.sampled_from(["u", "v"]), name=names, value=st.just(NOTHING)),
    st.builds(e.ObligationOpened, key=keys, name=st.just("vm"), begins=keys, undo=st.just(e.StepRef("s"))),
    st.builds(e.ObligationSettled, key=keys),
    st.builds(e.ObligationFailed, key=keys, failure=st.just(BAD)),
    st.builds(m.SettleObligation, obligation=keys, note=st.just("done")),
    st.builds(m.RetryObligation, obligation=keys),
    st.builds(m.ChildEnded, key=keys, run=keys.map(first_trial), failure=st.sampled_from([None, BAD])),
    st.builds(e.StepStopRequested, key=keys, step=st.just("s")),
    st.builds(e.PatchMarked, id=names),
    st.builds(e.RunContinued, run=st.just(RunId("r~2")), seen=st.integers(0, 9)),
    st.just(m.RunTimedOut()),
    st.just(e.RunPaused(reason="why")),
    st.just(e.RunCompleted(value=NOTHING)),
    st.just(e.RunFailed(failure=BAD)),
    st.just(e.RunCancelled()),
)

START = m.StartRun(RunId("r"), "flow", Digest("m"), e.Place("/p", "python"), {}, timeout=20.0)


def lived(said: Sequence[m.AnyMessage]) -> tuple[list[e.Recorded], RunState]:
    """The history and the live state of a run to which all this was said, one message a second."""
    history: list[e.Recorded] = []
    state = RunState()
    for now, message in enumerate((START, *said)):
        try:
            decided = decide(state, message, float(now))
        except FlowbookError:
            continue
        for event in decided:
            history.append(e.Recorded(Seq(state.seq + 1), float(now), event))
            evolve(state, history[-1])
    return history, state


conversations = st.lists(messages, max_size=40)


@given(conversations, st.integers(0, 40))
def test_every_prefix_folds_and_a_fold_may_be_taken_in_two(said: list[m.AnyMessage], cut: int) -> None:
    history, live = lived(said)
    for end in range(len(history) + 1):
        assert fold(history[:end]).seq == end
    assert fold(history[cut:], fold(history[:cut])) == fold(history) == live


@given(conversations)
def test_the_state_after_recovery_is_the_live_one(said: list[m.AnyMessage]) -> None:
    history, live = lived(said)
    stored = [entry(RunId("r"), recorded).record for recorded in history]
    assert fold(map(decode_recorded, stored)) == live


@given(conversations)
def test_a_closing_event_is_the_last_one_but_for_what_is_owed(said: list[m.AnyMessage]) -> None:
    history, live = lived(said)
    closing = [recorded.seq for recorded in history if isinstance(recorded.event, e.CLOSING)]
    after = [recorded.event for recorded in history[closing[0] :]] if closing else []
    assert len(closing) <= 1 and all(isinstance(event, e.AFTERWARDS) for event in after)
    assert bool(live.closed) == bool(closing)
    if live.closed:
        assert due(live, 1e9) == NOTHING_DUE


@given(conversations)
def test_a_step_ends_once_and_saying_all_again_adds_no_end(said: list[m.AnyMessage]) -> None:
    history, live = lived(said)
    ends = (e.StepCompleted, e.StepFailed, e.StepCancelled, e.StepReused, e.StepSkipped)
    ended = [recorded.event.key for recorded in history if isinstance(recorded.event, ends)]
    assert len(ended) == len(set(ended))
    for message in said:
        if isinstance(message, (e.StepCompleted, m.AttemptFailed)) and message.key in ended:
            assert not decide(live, message, 1e9)


@given(conversations)
def test_an_obligation_and_an_update_are_opened_once_and_settled_once(said: list[m.AnyMessage]) -> None:
    opened: list[tuple[str, str]] = []
    settled: list[tuple[str, str]] = []
    for recorded in lived(said)[0]:
        match recorded.event:
            case e.ObligationOpened(key=key):
                opened.append(("owed", key))
            case e.ObligationSettled(key=key):
                settled.append(("owed", key))
            case e.UpdateReceived(id=id):
                opened.append(("update", id))
            case e.UpdateCompleted(id=id) | e.UpdateFailed(id=id):
                settled.append(("update", id))
    assert len(set(opened)) == len(opened) and len(set(settled)) == len(settled)
    assert set(settled) <= set(opened)


@given(conversations)
def test_what_is_owed_is_settled_or_listed(said: list[m.AnyMessage]) -> None:
    history, state = lived(said)
    opened = {r.event.key for r in history if isinstance(r.event, e.ObligationOpened)}
    settled = {r.event.key for r in history if isinstance(r.event, e.ObligationSettled)}
    assert opened - settled == state.obligations.keys()
    trials = [r.event.run for r in history if isinstance(r.event, e.ObligationRetried)]
    assert len(set(trials)) == len(trials) and {o.trying for o in state.obligations.values()} <= {*trials, ""}


@given(conversations)
def test_attempts_only_count_upwards(said: list[m.AnyMessage]) -> None:
    begun: dict[Key, int] = {}
    for recorded in lived(said)[0]:
        if isinstance(recorded.event, e.StepStarted):
            assert recorded.event.attempt > begun.get(recorded.event.key, 0)
            begun[recorded.event.key] = recorded.event.attempt


@given(conversations, messages)
def test_deciding_changes_nothing(said: list[m.AnyMessage], message: m.AnyMessage) -> None:
    _, state = lived(said)
    before = copy.deepcopy(state)
    try:
        decide(state, message, 50.0)
    except FlowbookError:
        pass
    assert state == before


@given(conversations)
@settings(max_examples=50)
def test_what_is_due_is_done_at_most_once(said: list[m.AnyMessage]) -> None:
    history, state = lived(said)
    while asked := due(state, 1e9).timers:
        for key in asked:
            for event in decide(state, m.TimerDue(key), 1e9):
                evolve(state, e.Recorded(Seq(state.seq + 1), 1e9, event))
                history.append(e.Recorded(state.seq, 1e9, event))
    fired = [recorded.event.key for recorded in history if isinstance(recorded.event, e.TimerFired)]
    assert len(fired) == len(set(fired))
    assert due(state, 1e9).timers == ()
