"""What one sees of a run's dealings: children, answers from outside, queues, progress, obligations, its end."""

from __future__ import annotations

from typing import Any

import pytest

from flowbook.core import events as e
from flowbook.core import token
from flowbook.core.affairs import KEPT
from flowbook.core.extranodes import LIMIT
from flowbook.core.failure import Failure
from flowbook.core.graph import Box, Graph, Layout, Node
from flowbook.core.ids import Digest, Key, RunId
from flowbook.core.module import Module, Workflow
from flowbook.core.patch import difference
from flowbook.core.view import RunView, view

from .histories import FAILURE, MODULE, recorded, value


def shown(*events: object) -> dict[str, Any]:
    return view(recorded(*events), MODULE)


def k(name: str) -> Key:
    return Key(f"/t/{name}")


CHILD = e.ChildStarted(k("other"), "other", RunId("r-1.c"))


@pytest.mark.parametrize(
    ("ending", "status", "step"),
    [
        (e.StepCompleted(k("other"), "other", value(1)), "succeeded", "done"),
        (e.StepFailed(k("other"), "other", FAILURE), "failed", "failed"),
        (
            e.StepFailed(k("other"), "other", Failure("RunCancelled", "child run r-1.c was cancelled")),
            "cancelled",
            "failed",
        ),
        (e.StepFailed(k("other"), "other", Failure("RunTerminated", "it was")), "terminated", "failed"),
        (e.StepCancelled(k("other"), "other"), "cancelled", "cancelled"),
        (e.RunCompleted(value(1)), "cancelled", "cancelled"),
    ],
)
def test_a_child_is_followed_to_its_end(ending: e.AnyEvent, status: str, step: str) -> None:
    begun = shown(CHILD)
    assert (begun["status"], begun["steps"]["other"]["status"]) == ("waiting", "running")
    assert [(wait["kind"], wait["name"]) for wait in begun["waits"]] == [("child", "r-1.c")]
    ended = shown(CHILD, ending)
    assert [(child["run"], child["status"]) for child in ended["children"]] == [("r-1.c", status)]
    assert ended["steps"]["other"]["status"] == step
    assert ended["waits"] == []
    assert ended["steps"]["other"]["attempts"][0]["run"] == "r-1.c"


def test_a_child_goes_along_with_a_run_that_goes_on_unless_it_is_abandoned() -> None:
    left = e.ChildStarted(k("left"), "left", RunId("r-1.l"), close="abandon")
    ended = shown(CHILD, left, e.RunContinued(RunId("r-1~2")))
    assert [child["status"] for child in ended["children"]] == ["continued", "abandoned"]


def test_one_child_done_leaves_the_others_running() -> None:
    second = e.ChildStarted(k("other.2"), "other", RunId("r-1.d"))
    found = shown(CHILD, second, e.StepCompleted(k("other"), "other", value(1)))
    assert found["steps"]["other"]["status"] == "running"
    assert [child["status"] for child in found["children"]] == ["succeeded", "running"]


def test_what_waits_outside_has_the_token_that_finishes_it() -> None:
    waiting = shown(e.StepWaiting(k("load"), "load", expires=900.0))
    (wait,) = waiting["waits"]
    assert (wait["kind"], wait["name"], wait["due"]) == ("outside", "load", 900.0)
    assert token.read(wait["token"]) == ("r-1", k("load"), 1)
    assert (waiting["status"], waiting["steps"]["load"]["where"]) == ("waiting", "outside")
    answered = shown(e.StepWaiting(k("load"), "load"), e.StepCompleted(k("load"), "load", value([1, 2])))
    assert (answered["waits"], answered["steps"]["load"]["status"]) == ([], "done")
    assert len(answered["steps"]["load"]["attempts"]) == 1


def test_a_step_on_a_queue_says_which_and_how_long() -> None:
    scheduled = e.StepScheduled(k("load"), "load", "gpu")
    waiting = shown(scheduled)
    load = waiting["steps"]["load"]
    assert (waiting["status"], load["status"], load["queue"], load["pauses"]) == (
        "running",
        "queued",
        "gpu",
        [[101.0, None]],
    )
    begun = shown(scheduled, 9, e.StepStarted(k("load"), "load"))["steps"]["load"]
    assert (begun["status"], begun["started"], begun["pauses"]) == ("running", 111.0, [[101.0, 111.0]])


def test_progress_is_of_the_attempt_and_of_a_map_of_its_items() -> None:
    load = shown(e.StepStarted(k("load"), "load"), e.StepProgress(k("load"), "load", 1, 3, 4, "pages"))["steps"]["load"]
    assert load["progress"] == {"done": 3, "total": 4, "text": "pages"}
    again = [e.StepAttemptFailed(k("load"), "load", 1, FAILURE, 200.0), e.StepStarted(k("load"), "load", 2)]
    assert shown(e.StepProgress(k("load"), "load", 1, 3, 4), *again)["steps"]["load"]["progress"] is None
    items = [
        e.MapStarted(k("score"), "score", 4),
        e.StepCompleted(k("score#0"), "score", value(1), item=0),
        e.StepStarted(k("score#1"), "score", item=1),
        e.StepProgress(k("score#1"), "score", 1, 1, 2, "fits", item=1),
    ]
    assert shown(*items)["steps"]["score"]["progress"] == {"done": 1.5, "total": 4.0, "text": "fits"}
    more = e.StepCompleted(k("score#1"), "score", value(1), item=1)
    assert shown(*items, more)["steps"]["score"]["progress"]["done"] == 2.0


def test_a_heartbeat_is_last_seen() -> None:
    beat = shown(e.StepStarted(k("load"), "load"), e.StepHeartbeat(k("load"), "load", 1, value({"page": 3})))
    assert beat["steps"]["load"]["heartbeat"]["time"] == 102.0
    assert beat["steps"]["load"]["heartbeat"]["details"]["json"] == {"page": 3}


OWED = e.ObligationOpened(k("owe.vm"), "vm")
RETRIED = e.ObligationRetried(k("owe.vm"), RunId("r.retry-1"))


@pytest.mark.parametrize(
    ("events", "status", "ended"),
    [
        ([], "open", None),
        ([e.ObligationSettled(k("owe.vm"), "undone")], "undone", 102.0),
        ([e.ObligationFailed(k("owe.vm"), FAILURE)], "failed", None),
        ([e.ObligationFailed(k("owe.vm"), FAILURE), e.RunFailed(FAILURE)], "failed", None),
        ([e.RunTerminated()], "open", None),
        ([e.ObligationFailed(k("owe.vm"), FAILURE), e.RunFailed(FAILURE), RETRIED], "retrying", None),
        ([e.RunTerminated(), RETRIED, e.ObligationSettled(k("owe.vm"), "undone")], "undone", 104.0),
        ([e.RunTerminated(), e.ObligationSettled(k("owe.vm"), "settled", "by hand")], "settled", 103.0),
    ],
)
def test_what_is_owed_stays_until_it_is_settled(events: list[e.AnyEvent], status: str, ended: float | None) -> None:
    (owed,) = shown(OWED, *events)["obligations"]
    assert (owed["name"], owed["status"], owed["ended"]) == ("vm", status, ended)
    assert bool(owed["error"]) is any(isinstance(event, e.ObligationFailed) for event in events)


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (e.UpdateCompleted("u", "add", value(3)), "completed"),
        (e.UpdateFailed("u", "add", FAILURE), "failed"),
        (e.UpdateFailed("u", "add", FAILURE, rejected=True), "rejected"),
    ],
)
def test_an_update_is_received_and_answered(ending: e.AnyEvent, status: str) -> None:
    assert shown(e.UpdateReceived("u", "add"))["updates"][0]["status"] == "received"
    assert shown(e.UpdateReceived("u", "add"), ending)["updates"][0]["status"] == status


def test_a_signal_to_another_run_is_sent_or_fails() -> None:
    sent = e.SignalSent(k("s"), "signal go", RunId("other"), "go", value(1))
    assert shown(sent)["sent"][0]["status"] == "sending"
    assert shown(sent, e.StepCompleted(k("s"), "signal go", value(None)))["sent"][0]["status"] == "sent"
    assert shown(sent, e.StepFailed(k("s"), "signal go", FAILURE))["sent"][0]["status"] == "failed"


def test_being_stopped_and_having_been() -> None:
    assert shown(e.CancelRequested("enough"))["stopping"] == {"how": "cancel", "reason": "enough", "since": 101.0}
    assert shown(e.CancelRequested(cause="timeout"))["stopping"]["how"] == "timeout"
    assert shown(e.TerminateRequested())["stopping"]["how"] == "terminate"
    ended = shown(e.TerminateRequested("x"), e.RunTerminated("x"))
    assert (ended["status"], ended["reason"]) == ("terminated", "x")
    assert shown(e.RunContinued(RunId("r-1~2")))["next"] == "r-1~2"
    late = shown(e.CancelRequested(cause="timeout"), e.RunFailed(Failure("TimeoutError", "the run's time is up")))
    assert late["error"]["step"] == ""


def test_attributes_patches_and_moves_are_kept_up() -> None:
    found = shown(
        e.AttributesSet(k("a"), {"customer": "x", "stage": 1}),
        e.AttributesSet(k("b"), {"customer": None}),
        e.PatchMarked("new-price"),
        e.RunMoved(Digest("m2"), source="report.py"),
    )
    assert (found["attributes"], found["patches"]) == ({"stage": 1}, ["new-price"])
    assert (found["module"], found["source"], len(found["moves"])) == ("m2", "report.py", 1)


def test_what_the_graph_does_not_know_stands_below_it() -> None:
    graph = Graph((Node("load"),), layout=Layout(300, 100, {"load": Box(150, 50, 240, 66)}))
    fold = RunView(Module(Digest("m"), "report", "", (Workflow("report", graph),)))
    history = recorded(*(e.StepStarted(k(f"x{n}"), f"x{n}") for n in range(4)))
    for each in history[:-1]:
        fold.apply(each)
    before = fold.shown()
    fold.apply(history[-1])
    after = fold.shown()
    boxes = after["graph"]["layout"]["boxes"]
    assert [node["id"] for node in after["graph"]["nodes"]] == ["load", "x0", "x1", "x2", "x3"]
    assert boxes["load"] == before["graph"]["layout"]["boxes"]["load"]
    assert boxes["x0"]["y"] == boxes["x2"]["y"] < boxes["x3"]["y"]
    assert all(box["y"] + box["height"] / 2 <= after["graph"]["layout"]["height"] for box in boxes.values())
    assert len(difference(before["graph"], after["graph"])) == 3
    many = view(recorded(*(e.StepStarted(k(f"x{n}"), f"x{n}") for n in range(2 * LIMIT))), None)
    assert len(many["graph"]["nodes"]) == LIMIT
    assert len(many["steps"]) == 2 * LIMIT


def test_what_is_said_between_two_records_is_shown_and_makes_no_difference_later() -> None:
    begun, ended = e.StepStarted(k("load"), "load"), e.StepCompleted(k("load"), "load", value(1))
    *before, last = recorded(begun, ended)
    watched = RunView(MODULE)
    for each in before:
        watched.apply(each)
    watched.glimpse(e.StepProgress(k("load"), "load", 1, 3.0, 4.0), before[-1].time)
    watched.glimpse(e.StepProgress(k("other"), "other", 1, 1.0), before[-1].time)
    assert watched.shown()["steps"]["load"]["progress"] == {"done": 3, "total": 4, "text": ""}
    watched.apply(last)
    assert watched.shown() == shown(begun, ended) | {"steps": watched.shown()["steps"]}
    assert watched.shown()["steps"]["load"]["status"] == "done" and "other" not in watched.shown()["steps"]


def test_finished_dealings_are_forgotten_in_time_and_open_ones_never() -> None:
    events: list[object] = [OWED]
    for n in range(3 * KEPT):
        events += [e.UpdateReceived(str(n), "add"), e.UpdateCompleted(str(n), "add", value(n))]
    found = shown(*events, e.UpdateReceived("last", "add"), e.UpdateCompleted("last", "add", value(0)))
    assert len(found["updates"]) <= KEPT + 1
    assert found["updates"][-1]["status"] == "completed"
    assert found["obligations"][0]["status"] == "open"
