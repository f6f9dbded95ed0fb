"""Policy of what makes long operations bearable: time-outs, termination, children, updates, obligations, tokens."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from flowbook.core import events as e
from flowbook.core import messages as m
from flowbook.core.consequences import consequences
from flowbook.core.decide import decide
from flowbook.core.due import due
from flowbook.core.evolve import evolve
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, Key, RunId, Seq, WorkerId
from flowbook.core.retry import RetryPolicy
from flowbook.core.state import RunState
from flowbook.core.value import NOTHING
from flowbook.errors import RunClosed, RunConflict, UserError
from tests.core.test_decide import AWAITED, BAD, CLOSED, START, after, begun, timer

OWES = e.ObligationOpened(key=Key("o"), name="create_vm")
KEPT = e.ObligationSettled(key=Key("o"))
GAVE_UP = e.ObligationFailed(key=Key("o"), failure=BAD)
PAUSED = e.RunPaused(reason="x")
CHILD = e.ChildStarted(key=Key("c"), step="child", run=RunId("r.c"))
SENT = e.SignalSent(key=Key("g"), step="signal go", run=RunId("other"), name="go", value=NOTHING)
UPDATE = m.SendUpdate("u1", "add", (NOTHING,))
UPDATED = e.UpdateReceived(id="u1", name="add", arguments=(NOTHING,))
HANDLED = e.UpdateCompleted(id="u1", name="add", value=NOTHING)
OUTSIDE = e.StepWaiting(key=Key("k"), step="s", expires=30.0)
ASKING = e.StepStarted(key=Key("k"), step="s", worker=WorkerId("w"), external=True, digest=Digest("d"))
ASKING_AGAIN = replace(ASKING, attempt=2)
ASKED_AGAIN = e.StepAttemptFailed(key=Key("k"), step="s", attempt=1, failure=BAD, retry_at=9.0)
QUEUED = e.StepScheduled(key=Key("k"), step="s", queue="gpu")
AGAIN = RetryPolicy(maximum_attempts=3)
MOVE = m.MoveRun(Digest("n"))
NEXT = e.RunContinued(run=RunId("r~2"))
SEEN = e.RunContinued(run=RunId("r~2"), seen=Seq(9))

CASES: dict[str, tuple[tuple[e.AnyEvent, ...], m.AnyMessage, list[type]]] = {
    "terminate": ((), m.TerminateRun(), [e.RunTerminated]),
    "terminate a closed run": ((CLOSED,), m.TerminateRun(), []),
    "terminate a paused run": ((OWES, PAUSED), m.TerminateRun(), [e.RunTerminated]),
    "terminate what owes something": ((OWES,), m.TerminateRun(), [e.TerminateRequested]),
    "terminate again what owes something": ((OWES, e.TerminateRequested()), m.TerminateRun(), []),
    "terminate now what owes something": ((OWES,), m.TerminateRun(now=True), [e.RunTerminated]),
    "terminate what owes nothing any more": ((OWES, KEPT), m.TerminateRun(), [e.RunTerminated]),
    "terminate what has given up taking back": ((OWES, GAVE_UP), m.TerminateRun(), [e.RunTerminated]),
    "a wait that ended with the termination": ((AWAITED, OWES, e.TerminateRequested()), AWAITED, []),
    "a timer that ended with the termination": ((timer(), OWES, e.TerminateRequested()), timer(), []),
    "a message that ended with the termination": ((SENT, OWES, e.TerminateRequested()), SENT, []),
    "cancel what is being terminated": ((OWES, e.TerminateRequested()), m.CancelRun(), []),
    "an obligation twice": ((OWES,), OWES, []),
    "an obligation again after it was settled": ((OWES, KEPT), OWES, []),
    "settled": ((OWES,), KEPT, [e.ObligationSettled]),
    "settled twice": ((OWES, KEPT), KEPT, []),
    "settled that was never owed": ((), KEPT, []),
    "a child": ((), CHILD, [e.ChildStarted]),
    "a child twice": ((CHILD,), CHILD, []),
    "a child is said to be a step": ((CHILD,), e.StepWaiting(key=Key("c"), step="s"), []),
    "a child ends": ((CHILD,), m.ChildEnded(Key("c"), RunId("r.c"), value=NOTHING), [e.StepCompleted]),
    "a child fails": ((CHILD,), m.ChildEnded(Key("c"), RunId("r.c"), failure=BAD), [e.StepFailed]),
    "a child ends that nobody waits for": ((), m.ChildEnded(Key("c"), RunId("r.c"), value=NOTHING), []),
    "a child ends twice": (
        (CHILD, e.StepCompleted(key=Key("c"), step="child", value=NOTHING)),
        m.ChildEnded(Key("c"), RunId("r.c"), value=NOTHING),
        [],
    ),
    "the run that a child went on as ends": (
        (CHILD,),
        m.ChildEnded(Key("c"), RunId("r.c~3"), value=NOTHING),
        [e.StepCompleted],
    ),
    "a child that another run asked for ends": ((CHILD,), m.ChildEnded(Key("c"), RunId("r.d"), value=NOTHING), []),
    "a child is given up": ((CHILD,), e.StepCancelled(key=Key("c"), step="child"), [e.StepCancelled]),
    "a signal is sent": ((), SENT, [e.SignalSent]),
    "a signal is sent twice": ((SENT,), SENT, []),
    "a sent signal arrives": ((SENT,), m.SignalDelivered(Key("g")), [e.StepCompleted]),
    "a sent signal is refused": ((SENT,), m.SignalDelivered(Key("g"), BAD), [e.StepFailed]),
    "a signal that was not sent arrives": ((), m.SignalDelivered(Key("g")), []),
    "an update": ((), UPDATE, [e.UpdateReceived]),
    "the same update again": ((UPDATED,), UPDATE, []),
    "the same update after it was handled": ((UPDATED, HANDLED), UPDATE, []),
    "an update is handled": ((UPDATED,), HANDLED, [e.UpdateCompleted]),
    "an update is handled twice": ((UPDATED, HANDLED), HANDLED, []),
    "an update nobody sent is handled": ((), HANDLED, []),
    "a step waits outside": ((begun(),), OUTSIDE, [e.StepWaiting]),
    "a step waits outside, said twice": ((OUTSIDE,), OUTSIDE, []),
    "its worker is lost": ((begun(), OUTSIDE), m.WorkerLost(WorkerId("w")), []),
    "it is completed": ((OUTSIDE,), m.CompleteStep(Key("k"), 1, NOTHING), [e.StepCompleted]),
    "it fails": ((OUTSIDE,), m.CompleteStep(Key("k"), 1, failure=BAD), [e.StepFailed]),
    "it is completed while it still asks": ((ASKING,), m.CompleteStep(Key("k"), 1, NOTHING), [e.StepCompleted]),
    "it fails while it still asks": ((ASKING,), m.CompleteStep(Key("k"), 1, failure=BAD), [e.StepFailed]),
    "it has asked after it was completed": (
        (ASKING, e.StepCompleted(key=Key("k"), step="s", value=NOTHING)),
        OUTSIDE,
        [],
    ),
    "it is completed by the token of an attempt before": (
        (ASKING, ASKED_AGAIN, ASKING_AGAIN),
        m.CompleteStep(Key("k"), 1, NOTHING),
        [e.StepCompleted],
    ),
    "it is completed between two attempts": (
        (ASKING, ASKED_AGAIN),
        m.CompleteStep(Key("k"), 1, NOTHING),
        [e.StepCompleted],
    ),
    "it expires": ((OUTSIDE,), m.StepExpired(Key("k")), []),
    "a step is put in a queue": ((), QUEUED, [e.StepScheduled]),
    "a step is put in a queue twice": ((QUEUED,), QUEUED, []),
    "a queued step begins": ((QUEUED,), begun(), [e.StepStarted]),
    "move": ((), MOVE, [e.RunMoved]),
    "move a paused run": ((PAUSED,), MOVE, [e.RunMoved, e.RunResumed]),
    "a patch": ((), e.PatchMarked(id="p"), [e.PatchMarked]),
    "a patch twice": ((e.PatchMarked(id="p"),), e.PatchMarked(id="p"), []),
    "attributes twice": (
        (e.AttributesSet(key=Key("a"), attributes={"x": 1}),),
        e.AttributesSet(key=Key("a"), attributes={"x": 1}),
        [],
    ),
    "go on as a new run": ((), NEXT, [e.RunContinued]),
    "go on with a signal the code has not seen": ((e.SignalReceived(name="go", value=NOTHING),), NEXT, []),
    "go on with a cancel the code has not seen": ((e.CancelRequested(),), NEXT, []),
    "go on with a cancel the code has seen": ((e.CancelRequested(),), SEEN, [e.RunContinued]),
    "go on while being terminated": ((OWES, e.TerminateRequested()), SEEN, []),
}


@pytest.mark.parametrize("case", CASES)
def test_what_follows(case: str) -> None:
    history, message, expected = CASES[case]
    assert [type(event) for event in decide(after(*history), message, 20.0)] == expected


def test_an_update_that_was_answered_is_known_when_the_run_has_ended() -> None:
    assert decide(after(UPDATED, HANDLED, CLOSED), UPDATE, 9.0) == ()
    with pytest.raises(RunClosed):
        decide(after(UPDATED, CLOSED), UPDATE, 9.0)


@pytest.mark.parametrize("message", [UPDATE, MOVE])
def test_a_closed_run_refuses(message: m.AnyMessage) -> None:
    with pytest.raises(RunClosed, match="succeeded"):
        decide(after(CLOSED), message, 1.0)


@pytest.mark.parametrize(
    ("history", "attempt"),
    [((), 1), ((begun(),), 1), ((OUTSIDE,), 2), ((OUTSIDE, CLOSED), 1)],
    ids=["unknown", "not outside", "another attempt", "closed"],
)
def test_a_token_that_means_nothing_now_is_refused(history: tuple[e.AnyEvent, ...], attempt: int) -> None:
    with pytest.raises(UserError, match="cannot be completed"):
        decide(after(*history), m.CompleteStep(Key("k"), attempt, NOTHING), 1.0)


def test_the_failure_of_an_attempt_before_is_refused() -> None:
    with pytest.raises(UserError, match="cannot be completed"):
        decide(after(ASKING, ASKED_AGAIN, ASKING_AGAIN), m.CompleteStep(Key("k"), 1, failure=BAD), 1.0)


def test_what_does_not_come_from_outside_in_time_is_tried_again_as_the_policy_says() -> None:
    waiting = e.StepWaiting(key=Key("k"), step="s", expires=30.0, retry=AGAIN)
    (event,) = decide(after(waiting), m.StepExpired(Key("k")), 31.0)
    assert isinstance(event, e.StepAttemptFailed) and event.failure.type == "TimeoutError"
    (last,) = decide(after(OUTSIDE), m.StepExpired(Key("k")), 31.0)
    assert isinstance(last, e.StepFailed)


def test_an_at_most_once_step_whose_worker_is_lost_is_not_tried_again() -> None:
    once = e.StepStarted(key=Key("k"), step="s", worker=WorkerId("w"), once=True)
    (event,) = decide(after(once), m.WorkerLost(WorkerId("w"), "killed"), 5.0)
    assert isinstance(event, e.StepFailed) and event.failure.type == "Interrupted" and event.lost
    (failed,) = decide(after(once), m.AttemptFailed(Key("k"), "s", 1, BAD, AGAIN), 5.0)
    assert isinstance(failed, e.StepFailed)


def timed(*events: e.AnyEvent) -> RunState:
    return after(*events, start=m.StartRun(**{**_fields(START), "timeout": 10.0}))


def _fields(message: m.StartRun) -> dict[str, object]:
    return {name: getattr(message, name) for name in message.__struct_fields__}


def test_a_run_whose_time_is_up_is_cancelled_once() -> None:
    assert due(timed(), 5.0).next == 11.0
    assert due(timed(), 11.0).timed_out
    (event,) = decide(timed(), m.RunTimedOut(), 11.0)
    assert isinstance(event, e.CancelRequested) and event.cause == "timeout"
    assert decide(timed(), m.RunTimedOut(), 10.9) == ()
    assert decide(timed(event), m.RunTimedOut(), 99.0) == ()
    assert not due(timed(event), 99.0).timed_out


def test_the_time_of_a_run_is_that_of_its_chain() -> None:
    ((_, (start, *_), _, _),) = consequences(timed(), NEXT)
    assert isinstance(start, m.StartRun) and (start.since, start.timeout) == (1.0, 10.0)
    second = RunState()
    (started,) = decide(second, start, 7.0)
    evolve(second, e.Recorded(Seq(1), 7.0, started))
    assert due(second, 7.0).next == 11.0
    ((_, (third, *_), _, _),) = consequences(second, NEXT)
    assert isinstance(third, m.StartRun) and third.since == 1.0
    ((_, (free, *_), _, _),) = consequences(after(), NEXT)
    assert isinstance(free, m.StartRun) and free.since == 0.0


def test_a_run_whose_time_is_up_does_not_go_on_unheard() -> None:
    (told,) = decide(timed(), SEEN, 11.0)
    assert isinstance(told, e.CancelRequested) and told.cause == "timeout"
    assert decide(timed(told), NEXT, 12.0) == ()
    carried = replace(SEEN, cancel=told)
    assert decide(timed(told), carried, 12.0) == (carried,)
    (failed,) = decide(timed(told), SEEN, 12.0)
    assert isinstance(failed, e.RunFailed) and failed.failure.type == "TimeoutError"


def test_a_cancel_is_another_one_where_something_has_happened_since() -> None:
    asked = e.CancelRequested()
    assert decide(after(asked), m.CancelRun(), 5.0) == ()
    again = decide(after(asked, timer()), m.CancelRun("stop", "parent"), 5.0)
    assert again == (e.CancelRequested("stop", "parent"),)


def test_a_paused_run_whose_time_is_up_fails() -> None:
    (event,) = decide(timed(PAUSED), m.RunTimedOut(), 11.0)
    assert isinstance(event, e.RunFailed) and event.failure.type == "TimeoutError"


def test_a_failure_may_say_itself_when_to_try_again() -> None:
    soon = Failure("RetryAfter", "busy", retry_after=7.0)
    (event,) = decide(after(begun()), m.AttemptFailed(Key("k"), "s", 1, soon, AGAIN), 100.0)
    assert isinstance(event, e.StepAttemptFailed) and event.retry_at == 107.0


def test_what_a_closed_run_owes_stays_to_be_seen() -> None:
    state = after(OWES, GAVE_UP, e.RunTerminated(reason="x"))
    assert state.obligations[Key("o")].failed and state.closed == "terminated"


def test_queued_steps_are_not_the_workers_of_the_run_to_begin() -> None:
    asked = due(after(QUEUED), 5.0)
    assert asked.queued == (Key("k"),) and not asked.retry
    assert due(after(QUEUED, begun()), 5.0).queued == ()


def test_attributes_are_set_and_removed() -> None:
    state = after(
        e.AttributesSet(key=Key("a"), attributes={"x": 1, "y": 2}),
        e.AttributesSet(key=Key("b"), attributes={"x": None}),
    )
    assert state.attributes == {"y": 2}


def test_a_run_that_goes_on_takes_what_it_had_not_read() -> None:
    signal = e.SignalReceived(name="go", value=NOTHING)
    again = e.RunContinued(run=RunId("r~2"), signals=(signal,), seen=Seq(2))
    assert decide(after(signal), again, 5.0) == (again,)


def test_a_cancel_that_was_carried_over_is_one_of_the_new_run() -> None:
    (event,) = decide(after(), m.CancelRun("enough", "parent", carried=True), 2.0)
    assert event == e.CancelRequested("enough", "parent", carried=True)
    queued = after(start=m.StartRun(**{**_fields(START), "queue": "gpu"}))
    assert [type(event) for event in decide(queued, m.CancelRun(), 2.0)] == [e.RunCancelled]
    (failed,) = decide(queued, m.CancelRun("too long", "timeout", carried=True), 2.0)
    assert isinstance(failed, e.RunFailed) and failed.failure.type == "TimeoutError"


def test_a_start_may_bring_signals() -> None:
    go = m.SendSignal("go", NOTHING, "x")
    start = m.StartRun(**{**_fields(START), "signals": (go,)})
    assert [type(event) for event in decide(RunState(), start, 0.0)] == [e.RunStarted, e.SignalReceived]
    running = after()
    assert [type(event) for event in decide(running, start, 1.0)] == [e.SignalReceived]


def test_a_start_whose_signal_nobody_will_read_is_refused() -> None:
    go = m.SendSignal("go", NOTHING, "x")
    start = m.StartRun(**{**_fields(START), "signals": (go,)})
    with pytest.raises(RunClosed, match='has succeeded, so it can take no signal "go"'):
        decide(after(CLOSED), start, 1.0)
    heard = e.SignalReceived(name="go", value=NOTHING, id="x")
    assert decide(after(heard, CLOSED), start, 1.0) == []


@pytest.mark.parametrize(
    ("history", "how"),
    [((), "is running"), ((CLOSED,), "has succeeded"), ((e.RunCancelled(),), "was cancelled")],
    ids=["open", "ended", "cancelled"],
)
def test_an_id_that_is_taken_is_refused_for_what_it_is(history: tuple[e.AnyEvent, ...], how: str) -> None:
    start = m.StartRun(**{**_fields(START), "on_conflict": "fail"})
    with pytest.raises(RunConflict, match=f"exists already: it {how}"):
        decide(after(*history), start, 1.0)
