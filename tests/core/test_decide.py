"""Policy, message by message: what follows, what is refused, what decides nothing."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from flowbook.core import events as e
from flowbook.core import messages as m
from flowbook.core.decide import decide
from flowbook.core.evolve import evolve
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, Key, RunId, Seq, WorkerId
from flowbook.core.retry import RetryPolicy
from flowbook.core.state import RunState
from flowbook.core.stepping import LOST_ATTEMPTS
from flowbook.core.value import NOTHING, Value
from flowbook.errors import RunClosed, RunConflict, UnknownRun

PLACE = e.Place("/p", "python")
START = m.StartRun(RunId("r"), "flow", Digest("m"), PLACE, {"a": NOTHING})
BAD = Failure("ValueError", "no")


def after(*events: e.AnyEvent, start: m.StartRun = START) -> RunState:
    """The state of a run that was started and then saw these events, one a second."""
    state = RunState()
    (first,) = decide(state, start, 0.0)
    for number, event in enumerate((first, *events), start=1):
        evolve(state, e.Recorded(Seq(number), float(number), event))
    return state


def begun(attempt: int = 1, key: str = "k", worker: str = "w") -> e.StepStarted:
    return e.StepStarted(key=Key(key), step="s", attempt=attempt, worker=WorkerId(worker))


def done(attempt: int = 1, key: str = "k") -> e.StepCompleted:
    return e.StepCompleted(key=Key(key), step="s", value=NOTHING, attempt=attempt)


def again(attempt: int = 1, lost: bool = False, at: float = 50.0) -> e.StepAttemptFailed:
    return e.StepAttemptFailed(key=Key("k"), step="s", attempt=attempt, failure=BAD, retry_at=at, lost=lost)


def failed(attempt: int = 1, **policy: object) -> m.AttemptFailed:
    return m.AttemptFailed(Key("k"), "s", attempt, BAD, RetryPolicy(**policy))  # type: ignore[arg-type]


def timer(due: float = 10.0) -> e.TimerStarted:
    return e.TimerStarted(key=Key("t"), due=due)


CLOSED = e.RunCompleted(value=NOTHING)
ONCE = e.StepStarted(key=Key("k"), step="s", worker=WorkerId("w"), once=True)
OUTSIDE = e.StepWaiting(key=Key("o"), step="ask")
AWAITED = e.SignalAwaited(key=Key("s1"), name="go")
DROPPED = e.SignalDropped(key=Key("s1"), name="go")
SENT = m.SendSignal("go", NOTHING, id="x")
RECEIVED = e.SignalReceived(name="go", value=NOTHING, id="x")

CASES: dict[str, tuple[tuple[e.AnyEvent, ...], m.AnyMessage, list[type]]] = {
    "the same start again": ((), START, []),
    "a signal": ((), SENT, [e.SignalReceived]),
    "the same signal again": ((RECEIVED,), SENT, []),
    "the same signal again after the end": ((RECEIVED, CLOSED), SENT, []),
    "cancel": ((), m.CancelRun(), [e.CancelRequested]),
    "cancel again": ((e.CancelRequested(),), m.CancelRun(), []),
    "cancel a closed run": ((CLOSED,), m.CancelRun(), []),
    "cancel a paused run": ((e.RunPaused(reason="x"),), m.CancelRun(), [e.RunResumed, e.CancelRequested]),
    "cancel a paused run again": (
        (e.RunPaused(reason="x"), e.RunResumed(), e.CancelRequested(), e.RunPaused(reason="x")),
        m.CancelRun(),
        [e.RunCancelled],
    ),
    "cancel a run that was cancelled and did something before it was paused": (
        (e.RunPaused(reason="x"), e.RunResumed(), e.CancelRequested(), timer(), e.RunPaused(reason="y")),
        m.CancelRun(),
        [e.RunResumed, e.CancelRequested],
    ),
    "cancel a run that is paused while it is cancelled": (
        (e.CancelRequested(), e.RunPaused(reason="x")),
        m.CancelRun(),
        [e.RunResumed, e.CancelRequested],
    ),
    "resume": ((e.RunPaused(reason="x"),), m.ResumeRun(), [e.RunResumed]),
    "resume what runs": ((), m.ResumeRun(), []),
    "pause twice": ((e.RunPaused(reason="x"),), m.PauseRun("y"), []),
    "a step begins": ((), begun(), [e.StepStarted]),
    "a step begins twice": ((begun(),), begun(), []),
    "a step ends that was not announced": ((), done(), [e.StepCompleted]),
    "a step ends": ((begun(),), done(), [e.StepCompleted]),
    "a step ends twice": ((done(),), done(), []),
    "a step begins that has ended": ((done(),), begun(2), []),
    "an old attempt ends": ((begun(2),), done(1), []),
    "a lost attempt ends after all": ((begun(), again(lost=True)), done(1), []),
    "the next attempt ends": ((begun(), again()), done(2), [e.StepCompleted]),
    "a step ends in a closed run": ((begun(), CLOSED), done(), []),
    "output of a running attempt": (
        (begun(),),
        e.StepOutput(key=Key("k"), step="s", attempt=1, output=()),
        [e.StepOutput],
    ),
    "output of an ended attempt": ((done(),), e.StepOutput(key=Key("k"), step="s", attempt=1, output=()), []),
    "a failure with attempts left": ((), failed(maximum_attempts=2), [e.StepAttemptFailed]),
    "a failure with none left": ((begun(2),), failed(2, maximum_attempts=2), [e.StepFailed]),
    "a failure that is not to be retried": (
        (),
        failed(maximum_attempts=9, non_retryable=("ValueError",)),
        [e.StepFailed],
    ),
    "a failure after a lost attempt": (
        (begun(), again(lost=True)),
        failed(2, maximum_attempts=2),
        [e.StepAttemptFailed],
    ),
    "an old failure": ((begun(), again()), failed(1, maximum_attempts=9), []),
    "a step is cancelled": ((begun(),), e.StepCancelled(key=Key("k"), step="s"), [e.StepCancelled]),
    "a step is cancelled after its end": ((done(),), e.StepCancelled(key=Key("k"), step="s"), []),
    "a step is skipped twice": ((e.StepSkipped(key=Key("k"), step="s"),), e.StepSkipped(key=Key("k"), step="s"), []),
    "a map starts twice": (
        (e.MapStarted(key=Key("k"), step="s", total=1),),
        e.MapStarted(key=Key("k"), step="s", total=1),
        [],
    ),
    "a timer starts twice": ((timer(),), timer(), []),
    "a timer that fired starts again": ((timer(), e.TimerFired(key=Key("t"))), timer(), []),
    "a timer is due": ((timer(10.0),), m.TimerDue(Key("t")), [e.TimerFired]),
    "a timer is not due yet": ((timer(1e9),), m.TimerDue(Key("t")), []),
    "a timer is due in a paused run": ((timer(), e.RunPaused(reason="x")), m.TimerDue(Key("t")), []),
    "a timer is cancelled": ((timer(),), e.TimerCancelled(key=Key("t")), [e.TimerCancelled]),
    "a timer is cancelled after it fired": (
        (timer(), e.TimerFired(key=Key("t"))),
        e.TimerCancelled(key=Key("t")),
        [],
    ),
    "a signal is awaited twice": ((AWAITED,), AWAITED, []),
    "a wait is dropped": ((AWAITED,), e.SignalDropped(key=Key("s1"), name="go"), [e.SignalDropped]),
    "a wait is dropped twice": ((AWAITED, DROPPED), DROPPED, []),
    "a wait that never was is dropped": ((), e.SignalDropped(key=Key("s1"), name="go"), []),
    "a run is paused while a step runs": ((begun(),), m.PauseRun("x"), [e.StepAttemptFailed, e.RunPaused]),
    "a run is paused while a step runs that has but one attempt": (
        (ONCE,),
        e.RunPaused(reason="x"),
        [e.StepFailed, e.RunPaused],
    ),
    "a run is paused between attempts": ((begun(), again()), m.PauseRun("x"), [e.RunPaused]),
    "a run is paused while others have its steps": (
        (e.StepScheduled(key=Key("k"), step="s", queue="gpu"), begun(), OUTSIDE),
        m.PauseRun("x"),
        [e.RunPaused],
    ),
    "a step with but one attempt begins again": ((ONCE, again(lost=True)), begun(2), [e.StepFailed]),
    "a step of a queue with but one attempt begins": (
        (e.StepScheduled(key=Key("k"), step="s", queue="gpu", once=True),),
        begun(),
        [e.StepStarted],
    ),
    "a worker is lost": ((begun(),), m.WorkerLost(WorkerId("w")), [e.StepAttemptFailed]),
    "another worker is lost": ((begun(),), m.WorkerLost(WorkerId("v")), []),
    "a worker is lost between attempts": ((begun(), again()), m.WorkerLost(WorkerId("w")), []),
    "the run ends": ((), CLOSED, [e.RunCompleted]),
    "the run ends twice": ((CLOSED,), e.RunFailed(failure=BAD), []),
}


@pytest.mark.parametrize("case", CASES)
def test_what_follows(case: str) -> None:
    history, message, expected = CASES[case]
    assert [type(event) for event in decide(after(*history), message, 20.0)] == expected


def test_another_start_with_the_same_id_is_a_conflict() -> None:
    with pytest.raises(RunConflict, match="exists already"):
        decide(after(), m.StartRun(RunId("r"), "flow", Digest("other"), PLACE, {"a": NOTHING}), 1.0)
    with pytest.raises(RunConflict):
        decide(after(), m.StartRun(RunId("r"), "flow", Digest("m"), PLACE, {"a": Value("json")}), 1.0)


@pytest.mark.parametrize("message", [SENT, m.ResumeRun()])
def test_a_closed_run_refuses(message: m.AnyMessage) -> None:
    with pytest.raises(RunClosed, match="succeeded"):
        decide(after(CLOSED), message, 1.0)


@pytest.mark.parametrize(
    ("closing", "said"),
    [
        (CLOSED, "has succeeded"),
        (e.RunFailed(failure=BAD), "has failed"),
        (e.RunCancelled(), "was cancelled"),
        (e.RunTerminated(), "was terminated"),
        (e.RunContinued(run=RunId("r~2")), "has continued"),
    ],
)
def test_how_a_run_ended_is_said_in_english(closing: e.AnyEvent, said: str) -> None:
    with pytest.raises(RunClosed, match=f'run "r" {said}, so'):
        decide(after(closing), SENT, 1.0)


@pytest.mark.parametrize("message", [SENT, m.ResumeRun(), m.CancelRun()])
def test_a_run_that_never_started_is_unknown(message: m.AnyMessage) -> None:
    with pytest.raises(UnknownRun):
        decide(RunState(), message, 1.0)


def test_back_off_grows_and_its_jitter_is_the_same_for_the_same_attempt() -> None:
    plain = decide(after(begun(3)), failed(3, maximum_attempts=9), 100.0)[0]
    assert isinstance(plain, e.StepAttemptFailed) and plain.retry_at == 104.0
    jittered = [decide(after(begun(3)), failed(3, maximum_attempts=9, jitter=0.5), 100.0)[0] for _ in range(2)]
    assert jittered[0] == jittered[1]
    assert isinstance(jittered[0], e.StepAttemptFailed) and 102.0 <= jittered[0].retry_at <= 106.0 != 104.0


KILLED = m.WorkerLost(WorkerId("w"), "killed, signal 9")
UNREPORTED = m.Ran(RunId("r"), Key("k"), "s")


def lives(*how: m.AnyMessage, reported: bool = True) -> list[e.AnyEvent]:
    """A step's history whose attempts ended in these ways."""
    history: list[e.AnyEvent] = []
    for attempt, ending in enumerate(how, start=1):
        if reported:
            history.append(begun(attempt))
        if isinstance(ending, m.AttemptFailed):
            ending = failed(attempt, maximum_attempts=3)
        elif isinstance(ending, m.WorkerLost) and ending.ran:
            ending = replace(ending, ran=(replace(ending.ran[0], attempt=attempt),))
        history += [event for event in decide(after(*history), ending, 20.0) if not isinstance(event, e.RunPaused)]
    return history


def test_a_step_that_loses_worker_after_worker_has_failed() -> None:
    last = lives(*[KILLED] * LOST_ATTEMPTS)[-1]
    assert isinstance(last, e.StepFailed) and last.lost
    assert "killed, signal 9" in last.failure.message and "5th time in a row" in last.failure.message


def test_a_step_that_could_not_even_report_its_start_has_failed_as_well() -> None:
    crash = replace(KILLED, ran=(UNREPORTED,))
    first, *_, last = lives(*[crash] * LOST_ATTEMPTS, reported=False)
    assert isinstance(first, e.StepAttemptFailed) and (first.key, first.step, first.attempt) == ("k", "s", 1)
    assert isinstance(last, e.StepFailed) and last.attempt == LOST_ATTEMPTS


def test_an_end_that_was_already_recorded_is_no_loss() -> None:
    crash = replace(KILLED, ran=(UNREPORTED,))
    assert not decide(after(done()), crash, 20.0)
    assert not decide(after(CLOSED), crash, 20.0)


@pytest.mark.parametrize(
    "harmless",
    [
        replace(KILLED, planned=True),
        replace(KILLED, ran=()),
        replace(KILLED, ran=(replace(UNREPORTED, key=Key("other")),)),
        m.PauseRun("x"),
    ],
)
def test_a_loss_that_the_step_has_no_part_in_does_not_speak_against_it(harmless: m.AnyMessage) -> None:
    last = [event for event in lives(*[harmless] * 2 * LOST_ATTEMPTS) if getattr(event, "key", "") == "k"][-1]
    assert isinstance(last, e.StepAttemptFailed) and last.lost and last.planned
    assert isinstance(lives(harmless, *[KILLED] * LOST_ATTEMPTS)[-1], e.StepFailed)


def test_only_losses_in_a_row_count_and_none_is_a_failure() -> None:
    ways = [*[KILLED] * 4, failed(), *[KILLED] * 4]
    last = lives(*ways)[-1]
    assert isinstance(last, e.StepAttemptFailed) and last.attempt == 9
    last = lives(*ways, failed(), failed())[-1]
    assert isinstance(last, e.StepFailed) and last.failure == BAD


def test_decide_changes_nothing() -> None:
    state, twin = after(begun(), timer()), after(begun(), timer())
    for message in (
        done(),
        failed(maximum_attempts=3),
        m.TimerDue(Key("t")),
        m.CancelRun(),
        m.WorkerLost(WorkerId("w")),
    ):
        decide(state, message, 20.0)
    assert state == twin
