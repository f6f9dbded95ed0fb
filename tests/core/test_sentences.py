"""Every fact has a sentence of its own."""

from __future__ import annotations

from typing import get_args

import pytest

from flowbook.core import events as e
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, Key, RunId, Seq, WorkerId
from flowbook.core.sentences import describe
from flowbook.core.value import Value

K, NO, V = Key("/k"), Failure("ValueError", "no"), Value("json")

SENTENCES: list[tuple[e.AnyEvent, str]] = [
    (e.RunStarted(RunId("r-1"), "report", Digest("m"), e.Place("/", "py")), "run r-1 of report started"),
    (
        e.RunStarted(RunId("r-1~2"), "report", Digest("m"), e.Place("/", "py"), continued=RunId("r-1")),
        "run r-1~2 of report started, going on from r-1",
    ),
    (e.RunBegan(), "the run left its queue and began"),
    (e.RunCompleted(V), "the run succeeded"),
    (e.RunFailed(NO, "load"), "the run failed in load: ValueError: no"),
    (e.RunCancelled("enough"), "the run was cancelled: enough"),
    (e.RunTerminated(), "the run was terminated"),
    (e.RunContinued(RunId("r-1~2")), "the run went on as r-1~2"),
    (e.RunPaused("changed"), "the run was paused: changed"),
    (e.RunResumed(), "the run was resumed"),
    (e.RunMoved(Digest("n"), source="a.py"), "the run moved to other code: a.py"),
    (e.CancelRequested("enough"), "the run was asked to stop: enough"),
    (e.CancelRequested(cause="timeout"), "the run's time is up"),
    (e.TerminateRequested("now"), "the run is to be terminated: now"),
    (e.AttributesSet(K, {"a": 1}), "attributes were set: a=1"),
    (e.RunOutput((e.Chunk("stdout", "abcd"),), Seq(1)), "the workflow's code printed 4 characters"),
    (e.PatchMarked("p"), "the run takes the new branch of 'p'"),
    (e.UpdateReceived("u", "add"), "update 'add' came"),
    (e.UpdateCompleted("u", "add", V), "update 'add' was answered"),
    (e.UpdateFailed("u", "add", NO), "update 'add' failed: ValueError: no"),
    (e.UpdateFailed("u", "add", NO, rejected=True), "update 'add' was rejected: ValueError: no"),
    (e.ObligationOpened(K, "vm", "operation"), "the run owes 'vm' outside (operation)"),
    (e.ObligationSettled(K, "undone"), "an obligation is settled: undone"),
    (
        e.ObligationSettled(K, "settled", "deleted in the console"),
        "an obligation is settled: by hand: deleted in the console",
    ),
    (e.ObligationFailed(K, NO), "an obligation could not be settled: ValueError: no"),
    (e.ObligationRetried(K, RunId("r-1.retry")), "run r-1.retry tries again to settle an obligation"),
    (e.StepStarted(K, "load", 2, WorkerId("w")), "load (attempt 2) began on worker w"),
    (e.StepScheduled(K, "load", "gpu"), "load was put on queue gpu"),
    (e.StepWaiting(K, "load"), "load waits for an answer from outside"),
    (e.StepOutput(K, "load", 1, (e.Chunk("stdout", "abc"),)), "load printed 3 characters"),
    (e.StepProgress(K, "load", 1, 2, 4, "pages"), "load has done 2 of 4: pages"),
    (e.StepHeartbeat(K, "load", 1, V), "load gave a sign of life"),
    (e.StepCompleted(K, "load", V, item=3), "load [3] is done"),
    (e.StepAttemptFailed(K, "load", 1, NO, 2.0), "load failed and will be tried again: ValueError: no"),
    (e.StepAttemptFailed(K, "load", 1, NO, 2.0, lost=True), "load was lost and will be tried again: ValueError: no"),
    (
        e.StepAttemptFailed(K, "load", 1, NO, 2.0, lost=True, planned=True),
        "load was stopped and will be tried again: ValueError: no",
    ),
    (e.StepFailed(K, "load", NO), "load failed: ValueError: no"),
    (e.StepCancelled(K, "load"), "load was cancelled"),
    (e.StepStopRequested(K, "load"), "load was told that nobody needs its result any more"),
    (e.StepReused(K, "load", V, run=RunId("r-0")), "load was taken from r-0"),
    (e.StepSkipped(K, "load", "not needed"), "load was skipped: not needed"),
    (e.MapStarted(K, "load", 4), "load has 4 items"),
    (e.ChildStarted(K, "other", RunId("r-1.c")), "other was started as child run r-1.c"),
    (e.ChildLeft(RunId("r-1.c")), "child run r-1.c, started by an earlier run, has ended"),
    (e.TimerStarted(K, 9.0, "cool down"), "timer cool down was set"),
    (e.TimerFired(K), "a timer's time came"),
    (e.TimerCancelled(K), "a timer is no longer needed"),
    (e.SignalAwaited(K, "go"), "the run waits for signal 'go'"),
    (e.SignalDropped(K, "go"), "the run stopped waiting for signal 'go'"),
    (e.SignalReceived("go", V), "signal 'go' came"),
    (e.SignalSent(K, "signal go", RunId("b"), "go", V), "signal 'go' is sent to b"),
    (e.CancelSent(K, "cancel b", RunId("b"), "enough"), "run b is asked to stop: enough"),
    (e.RunAwaited(e.Parent(RunId("b"), K)), "run b waits for its end as well"),
]


@pytest.mark.parametrize(("event", "sentence"), SENTENCES, ids=lambda given: getattr(type(given), "__name__", ""))
def test_a_fact_is_a_sentence(event: e.AnyEvent, sentence: str) -> None:
    assert describe(event) == sentence


def test_no_fact_is_without_one() -> None:
    assert {type(event) for event, _ in SENTENCES} == set(get_args(e.AnyEvent))


def test_a_long_failure_is_one_line() -> None:
    long = describe(e.StepFailed(K, "load", Failure("ValueError", "x\n" * 500)))
    assert len(long) < 140
    assert "\n" not in long
