"""What one sees of a run, case by case."""

from typing import Any

from flowbook.core import events as e
from flowbook.core.failure import Failure
from flowbook.core.graph import Graph, Node
from flowbook.core.ids import Digest, Key, RunId
from flowbook.core.module import Module, Workflow
from flowbook.core.outputview import TEXT
from flowbook.core.stepview import ATTEMPTS
from flowbook.core.view import RunView, view

from .histories import FAILURE, MODULE, recorded, value


def shown(*events: object) -> dict[str, Any]:
    return view(recorded(*events), MODULE)


def k(name: str, task: str = "t") -> Key:
    return Key(f"/{task}/{name}")


def test_steps_stand_in_page_order_and_are_not_reached() -> None:
    steps = shown()["steps"]
    assert list(steps)[:3] == ["params", "load", "score"]
    assert steps["params"]["values"]["since"]["json"] == "today"
    assert steps["load"]["status"] == "not reached"


def test_several_outputs_are_several_values() -> None:
    pair = e.StepCompleted(k("load"), "load", value([[1, 2], []]), started=100.5)
    load = shown(pair)["steps"]["load"]
    assert {name: found["json"] for name, found in load["values"].items()} == {"rows": [1, 2], "bad": []}
    assert (load["status"], load["started"], load["ended"]) == ("done", 100.5, 101)


def test_retries_say_when_and_why() -> None:
    failed = e.StepAttemptFailed(k("load"), "load", 1, FAILURE, 140.0, started=101.0)
    load = shown(e.StepStarted(k("load"), "load"), failed)["steps"]["load"]
    assert (load["status"], load["retry_at"]) == ("retrying", 140.0)
    assert (load["error"]["type"], load["error"]["cell"], load["error"]["line"]) == ("ValueError", "c1", 2)
    assert [attempt["status"] for attempt in load["attempts"]] == ["failed"]
    again = shown(failed, e.StepStarted(k("load"), "load", 2), e.StepCompleted(k("load"), "load", value(1), attempt=2))
    assert again["steps"]["load"]["error"] is None
    assert again["steps"]["load"]["retry_at"] is None
    assert again["steps"]["load"]["attempt"] == 2


def test_a_lost_attempt_is_called_lost() -> None:
    lost = e.StepAttemptFailed(k("load"), "load", 1, FAILURE, 101.0, lost=True)
    assert shown(lost)["steps"]["load"]["attempts"][0]["status"] == "lost"


def test_items_are_counted_and_have_letters() -> None:
    keys = [Key(f"/m/score#{n}") for n in range(4)]
    events = [
        e.MapStarted(k("score", "m"), "score", 4),
        e.StepStarted(keys[0], "score", item=0),
        e.StepCompleted(keys[1], "score", value(1), item=1),
        e.StepAttemptFailed(keys[2], "score", 1, FAILURE, 120.0, item=2),
    ]
    score = shown(*events)["steps"]["score"]
    assert (score["grid"], score["status"]) == ("rdt-", "running")
    assert score["items"] == {"total": 4, "done": 1, "failed": 0, "running": 2}
    rest = [e.StepCompleted(keys[n], "score", value(1), item=n) for n in (0, 2, 3)]
    whole = shown(*events, *rest)["steps"]["score"]
    assert (whole["grid"], whole["status"], whole["items"]["done"]) == ("dddd", "done", 4)


def test_a_map_of_nothing_is_done_and_one_with_a_failure_failed() -> None:
    assert shown(e.MapStarted(k("score"), "score", 0))["steps"]["score"]["status"] == "done"
    failed = [e.MapStarted(k("score"), "score", 1), e.StepFailed(k("score#0"), "score", FAILURE, item=0)]
    assert shown(*failed)["steps"]["score"]["status"] == "failed"


def test_a_loop_waits_between_rounds_and_counts_them() -> None:
    rounds = [
        e.StepCompleted(k("ready"), "ready", value(False)),
        e.TimerStarted(k("timer"), 110.0),
    ]
    between = shown(*rounds)
    assert (between["status"], between["steps"]["ready"]["status"]) == ("waiting", "waiting")
    assert between["steps"]["ready"]["retry_at"] == 110.0
    assert between["waits"][0]["step"] == "ready"
    after = shown(*rounds, 8, e.TimerFired(k("timer")), e.StepCompleted(k("ready.2"), "ready", value(True)))
    ready = after["steps"]["ready"]
    assert (ready["status"], ready["rounds"], ready["pauses"]) == ("done", 2, [[102.0, 111.0]])
    assert after["waits"] == []


def test_a_signal_and_its_deadline_are_one_wait() -> None:
    waiting = [e.SignalAwaited(k("signal.approval"), "approval"), e.TimerStarted(k("timer"), 86500.0)]
    for order in (waiting, waiting[::-1]):
        view = shown(*order) if order is waiting else _same_moment(order)
        assert [(w["kind"], w["name"], w["due"], w["step"]) for w in view["waits"]] == [
            ("signal", "approval", 86500.0, "approval")
        ]
    came = shown(*waiting, e.SignalReceived("approval", value(True)), e.TimerCancelled(k("timer")))
    assert came["waits"] == []
    assert came["steps"]["approval"]["status"] == "done"
    assert came["steps"]["approval"]["values"]["approved"]["json"] is True


def _same_moment(events: list[Any]) -> dict[str, Any]:
    fold = RunView(MODULE)
    for n, event in enumerate([recorded()[0].event, *events], 1):
        fold.apply(e.Recorded(n, 100.0, event))  # type: ignore[arg-type]
    return fold.shown()


def test_a_signal_that_came_before_its_receiver_is_taken_at_once() -> None:
    early = [e.SignalReceived("approval", value(True)), e.SignalReceived("approval", value(False))]
    awaited = e.SignalAwaited(k("signal.approval"), "approval")
    came = shown(*early, awaited)
    assert came["waits"] == [] and came["status"] == "running"
    approval = came["steps"]["approval"]
    assert (approval["status"], approval["values"]["approved"]["json"]) == ("done", True)
    second = e.SignalAwaited(k("signal.approval:2"), "approval")
    assert shown(*early, awaited, second)["waits"] == []
    third = e.SignalAwaited(k("signal.approval:3"), "approval")
    assert [wait["key"] for wait in shown(*early, awaited, second, third)["waits"]] == [third.key]
    assert shown(*early, awaited, e.RunCompleted(value(1)))["steps"]["approval"]["status"] == "done"


def test_a_signal_given_to_one_who_was_giving_up_goes_to_the_next() -> None:
    first, second = (e.SignalAwaited(k("signal.approval", task), "approval") for task in "ab")
    came = e.SignalReceived("approval", value(True))
    gave_up = e.SignalDropped(first.key, "approval")
    assert shown(first, second, came, gave_up)["waits"] == []
    assert shown(first, came, gave_up, second)["waits"] == []


def test_a_signal_too_late_fails_its_step() -> None:
    late = [
        e.SignalAwaited(k("signal.approval"), "approval"),
        e.TimerStarted(k("timer"), 110.0),
        e.TimerFired(k("timer")),
        e.SignalDropped(k("signal.approval"), "approval"),
    ]
    approval = shown(*late)["steps"]["approval"]
    assert (approval["status"], approval["reason"]) == ("cancelled", "signal 'approval' did not come in time")
    ended = shown(*late, e.RunFailed(Failure("TimeoutError", "")))
    assert ended["steps"]["approval"]["status"] == "failed"
    assert ended["error"]["step"] == "approval"


def test_a_loop_whose_time_is_up_is_the_one_that_failed() -> None:
    done = e.StepCompleted(k("ready"), "ready", value(False))
    ended = shown(done, e.RunFailed(Failure("TimeoutError", "step 'ready' was not done after 3 rounds")))
    assert (ended["error"]["step"], ended["steps"]["ready"]["status"]) == ("ready", "failed")


def test_a_sleep_is_known_by_its_length_once_it_could_begin() -> None:
    sleep = e.TimerStarted(k("timer", "s"), 102.0 + 7200)
    assert shown(sleep)["steps"]["cool_down"]["status"] == "not reached"
    loaded = e.StepCompleted(k("load"), "load", value([1, 2]))
    assert shown(loaded, sleep)["steps"]["cool_down"]["status"] == "waiting"
    over = shown(loaded, sleep, 7200, e.TimerFired(k("timer", "s")))
    assert over["steps"]["cool_down"]["status"] == "done"


def test_a_step_that_waits_for_a_signal_runs_when_it_came() -> None:
    waits = e.SignalAwaited(k("signal.go", "g"), "go")
    assert shown(waits)["steps"]["ask"]["status"] == "waiting"
    assert shown(waits, e.SignalReceived("go", value(1)))["steps"]["ask"]["status"] == "queued"


def test_reused_and_skipped_say_why() -> None:
    kept = shown(e.StepReused(k("load"), "load", value([1, 2]), run=RunId("r-0")))["steps"]["load"]
    assert (kept["status"], kept["reason"]) == ("reused", "kept from r-0")
    skipped = shown(e.StepSkipped(k("ask"), "ask", "its condition is false"))["steps"]["ask"]
    assert (skipped["status"], skipped["reason"]) == ("skipped", "its condition is false")


def test_a_pause_says_why_and_ends() -> None:
    paused = shown(e.RunPaused("the code no longer fits"))
    assert (paused["status"], paused["error"]["message"]) == ("paused", "the code no longer fits")
    resumed = shown(e.RunPaused("x"), e.RunResumed())
    assert (resumed["status"], resumed["error"]) == ("running", None)


def test_output_keeps_its_end_and_big_displays_do_not_pile_up() -> None:
    lines = tuple(e.Chunk("stdout", "x" * 99 + "\n") for _ in range(2000))
    output = shown(e.StepOutput(k("load"), "load", 1, lines))["steps"]["load"]["output"]
    text = "".join(chunk["text"] for chunk in output)
    assert TEXT - 4096 < len(text) <= TEXT
    assert len(output) < 40
    one = shown(e.StepOutput(k("load"), "load", 1, (e.Chunk("stdout", "y" * 3 * TEXT),)))["steps"]["load"]["output"]
    assert len(one[0]["text"]) == TEXT
    pictures = tuple(e.Chunk("display", data={"image/png": "A" * 200_000}) for _ in range(9))
    assert len(shown(e.StepOutput(k("load"), "load", 1, pictures))["steps"]["load"]["output"]) == 2


def test_only_the_last_attempts_are_listed() -> None:
    many = [e.StepCompleted(k(f"ready.{n}"), "ready", value(n)) for n in range(ATTEMPTS + 50)]
    ready = shown(*many)["steps"]["ready"]
    assert len(ready["attempts"]) == ATTEMPTS
    assert ready["rounds"] == ATTEMPTS + 50


def test_what_did_not_change_is_shared() -> None:
    history = recorded(e.StepCompleted(k("load"), "load", value([1, 2])), e.StepStarted(k("ask"), "ask"))
    fold = RunView(MODULE)
    for r in history[:2]:
        fold.apply(r)
    before = fold.shown()
    fold.apply(history[2])
    after = fold.shown()
    assert after["steps"]["load"] is before["steps"]["load"]
    assert after["steps"]["ask"] is not before["steps"]["ask"]


def test_a_sleep_of_any_length_is_known_by_its_line() -> None:
    """As often as it comes: its time is an expression, and no two rounds need be alike."""
    nodes = (Node("nap", "wait", line=7, options={"wait": "pause * 2"}), Node("load", line=8))
    module = Module(Digest("m"), "report", "", (Workflow("report", Graph(nodes)),))
    told: list[object] = []
    for number, length in enumerate((3.0, 700.0)):
        timer = k(f"timer.{number}")
        told.append(e.TimerStarted(timer, 101.0 + length, site=7))
        seen = view(recorded(*told), module)
        assert seen["steps"]["nap"]["status"] == "waiting" and seen["waits"][0]["step"] == "nap"
        told.append(e.TimerFired(timer))
        assert view(recorded(*told), module)["steps"]["nap"]["status"] == "done"
    elsewhere = view(recorded(e.TimerStarted(k("timer"), 104.0, site=9)), module)
    assert elsewhere["steps"]["nap"]["status"] == "not reached"
