"""What is said to a run in the very turn in which it goes on as another, or ends: nothing is lost, nobody misled."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import anyio
import msgspec
import pytest

from flowbook.core import events as e
from flowbook.core import messages as m
from flowbook.core.failure import Failure
from flowbook.core.graph import Graph
from flowbook.core.ids import Digest, Key, RunId, Seq
from flowbook.core.module import Module, Workflow
from flowbook.core.value import NOTHING
from flowbook.engine.changes import Changes
from flowbook.engine.engine import Engine
from flowbook.engine.moves import Moves
from flowbook.engine.told import Told
from flowbook.store.base import decode_recorded
from flowbook.store.memory import MemoryStore
from flowbook.wire import calls
from tests.engine.test_schedule_laws import Nobody

START = m.StartRun(RunId("r"), "flow", Digest("m"), e.Place("/p", "py"))
OTHER = m.StartRun(RunId("r"), "flow", Digest("m"), e.Place("/p", "py"), {"n": NOTHING})
GO = m.SendSignal("go", NOTHING, "s1")
BAD = Failure("E", "no")
OWES = e.ObligationOpened(key=Key("o"), name="vm")


class Desk:
    """An engine without workers, whose turns the test takes, and what clients are answered."""

    def __init__(self) -> None:
        self.engine = Engine(MemoryStore(), self)
        self.engine.placement = self.engine.publication = self.engine.queues = Nobody()
        self.engine.tasks = self  # type: ignore[assignment]
        self.changes = Changes(self.engine)
        self.answers: list[Any] = []
        self.time = 0.0

    def now(self) -> float:
        self.time += 1.0
        return self.time

    def start_soon(self, work: Callable[..., Any], *args: Any) -> None:
        """What it would wait for is in memory: it does not have to."""
        with pytest.raises(StopIteration):
            work(*args).send(None)

    def answer(self, request: int, answer: Any) -> None:
        self.answers.append(answer)

    def refuse(self, request: int, error: Exception) -> None:
        self.answers.append(error)

    def ask(self, method: str, params: Any) -> None:
        getattr(self.changes, method)(self, 1, params)

    def happens(self, run: str, *events: Any) -> None:
        """As a worker reports it."""
        self.engine.tell(Told(RunId(run), events))

    def settle(self) -> None:
        while self.engine._inbox:
            self.engine.turn()

    def started(self, *starts: m.StartRun) -> None:
        for start in starts:
            self.ask("start", start)
        self.settle()
        self.answers.clear()

    def goes_on(self, run: str = "r") -> None:
        state = self.engine.runs.open[RunId(run)].state
        self.happens(run, e.RunContinued(run=RunId(f"{run}~2"), seen=state.seq))

    def kinds(self, run: str) -> list[str]:
        records = self.engine.store.history(RunId(run))
        return [type(decode_recorded(record).event).__name__ for record in records]


def in_place(start: m.StartRun, **options: Any) -> m.StartRun:
    return m.StartRun(**{**{name: getattr(start, name) for name in start.__struct_fields__}, **options})


SAID: dict[str, tuple[str, Any, list[str], list[str]]] = {
    "a signal": ("signal", calls.Signal(RunId("r"), "go", NOTHING, "s1"), ["SignalReceived"], []),
    "an update": ("update", calls.Update(RunId("r"), "u1", "add", (), {}, False), ["UpdateReceived"], []),
    "a cancel": ("cancel", calls.Cancel(RunId("r")), ["CancelRequested"], []),
    "a termination": ("terminate", calls.Terminate(RunId("r")), ["RunTerminated"], []),
    "the same start": ("start", START, [], []),
    "a start with a signal": ("start", in_place(START, signals=(GO,)), ["SignalReceived"], []),
    "another start with a signal": (
        "start",
        in_place(OTHER, signals=(GO,), on_conflict="use_existing"),
        ["SignalReceived"],
        [],
    ),
    "a start in its place": (
        "start",
        in_place(OTHER, on_conflict="terminate_existing"),
        ["RunTerminated"],
        ["RunStarted"],
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_it_is_said_to_the_run_that_goes_on(case: str) -> None:
    method, params, second, third = SAID[case]
    desk = Desk()
    desk.started(START)
    desk.goes_on()
    desk.ask(method, params)
    desk.settle()
    assert desk.kinds("r") == ["RunStarted", "RunContinued"]
    assert (desk.kinds("r~2"), desk.kinds("r~3")) == (["RunStarted", *second], third)
    (answer,) = desk.answers
    assert not isinstance(answer, Exception), answer


def test_it_says_what_became_of_the_run_that_goes_on() -> None:
    desk = Desk()
    desk.started(START)
    desk.goes_on()
    desk.ask("cancel", calls.Cancel(RunId("r")))
    desk.settle()
    desk.ask("terminate", calls.Terminate(RunId("r")))
    desk.ask("terminate", calls.Terminate(RunId("r")))
    desk.settle()
    assert [answer["outcome"] for answer in desk.answers] == ["queued", "terminated", "already done"]


def test_a_run_that_went_on_is_spoken_to_where_it_is_now_whatever_it_is_called() -> None:
    desk = Desk()
    desk.started(START)
    desk.happens("r", e.RunFailed(failure=BAD))
    desk.started(in_place(START, on_closed="allow"))
    desk.happens("r~2", e.RunContinued(run=RunId("r~3"), seen=Seq(1)))
    desk.ask("signal", calls.Signal(RunId("r~2"), "go", NOTHING, "s1"))
    desk.settle()
    assert desk.kinds("r~3") == ["RunStarted", "SignalReceived"]
    desk.ask("signal", calls.Signal(RunId("r~2"), "go", NOTHING, "s2"))
    desk.settle()
    assert desk.kinds("r~3") == ["RunStarted", "SignalReceived", "SignalReceived"]


CHILD = e.ChildStarted(key=Key("c"), step="flow", run=RunId("kid"))
SENDS = e.SignalSent(key=Key("g"), step="signal go", run=RunId("kid"), name="go", value=NOTHING)
FAR: dict[str, tuple[e.AnyEvent, str]] = {
    "its parent gives it up": (e.StepCancelled(key=Key("c"), step="flow"), "CancelRequested"),
    "its parent ends": (e.RunCompleted(value=NOTHING), "CancelRequested"),
    "another run sends a signal": (SENDS, "SignalReceived"),
}


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("case", FAR)
def test_what_other_runs_say_reaches_the_run_that_goes_on(case: str, first: bool) -> None:
    said, kind = FAR[case]
    desk = Desk()
    desk.started(START)
    desk.happens("r", CHILD)
    desk.settle()
    if first:
        desk.happens("r", said)
        desk.goes_on("kid")
    else:
        desk.goes_on("kid")
        desk.happens("r", said)
    desk.settle()
    assert kind in desk.kinds("kid~2") or (first and desk.kinds("kid") == ["RunStarted", kind])
    assert "StepFailed" not in desk.kinds("r")


def test_a_child_that_ends_tells_the_run_that_asked_for_it_and_no_other() -> None:
    """The run that comes next may well have asked for another child at the same place of its code."""
    desk = Desk()
    desk.started(START)
    desk.happens("r", e.ChildStarted(key=Key("c"), step="flow", run=RunId("kid-0"), close="abandon"))
    desk.settle()
    desk.goes_on()
    desk.settle()
    desk.happens("r~2", e.ChildStarted(key=Key("c"), step="flow", run=RunId("kid-1"), close="abandon"))
    desk.settle()
    desk.happens("kid-0", e.RunCompleted(value=NOTHING))
    desk.settle()
    assert desk.kinds("r~2") == ["RunStarted", "ChildStarted"]
    desk.happens("kid-1", e.RunCompleted(value=NOTHING))
    desk.settle()
    assert desk.kinds("r~2") == ["RunStarted", "ChildStarted", "StepCompleted"]


def test_children_of_a_run_that_goes_on_live_as_long_as_its_chain() -> None:
    desk = Desk()
    desk.started(START)
    for kid, close in (("a", "cancel"), ("b", "terminate"), ("c", "abandon"), ("d", "cancel")):
        desk.happens("r", e.ChildStarted(key=Key(kid), step="flow", run=RunId(kid), close=close))
    desk.settle()
    desk.goes_on()
    desk.happens("d", e.RunCompleted(value=NOTHING))
    desk.settle()
    assert [desk.kinds(kid)[-1] for kid in "abc"] == ["RunStarted"] * 3
    assert desk.kinds("r~2") == ["RunStarted", "ChildLeft"]
    desk.happens("r~2", e.RunCompleted(value=NOTHING))
    desk.settle()
    assert [desk.kinds(kid)[-1] for kid in "abcd"] == ["CancelRequested", "RunTerminated", "RunStarted", "RunCompleted"]


ANSWERED = e.UpdateCompleted(id="u1", name="add", value=NOTHING)


@pytest.mark.parametrize("ending", ["it goes on", "it has ended"])
@pytest.mark.parametrize("wait", [True, False])
def test_who_asks_again_after_the_end_is_answered_from_the_history(ending: str, wait: bool) -> None:
    """The engine may have been killed between the handler's answer and the client's."""
    desk = Desk()
    desk.started(START)
    update = calls.Update(RunId("r"), "u1", "add", (), {}, wait)
    desk.ask("update", update)
    desk.settle()
    desk.happens("r", ANSWERED)
    desk.settle()
    if ending == "it goes on":
        desk.goes_on()
    else:
        desk.happens("r", e.RunCompleted(value=NOTHING))
    desk.settle()
    desk.answers.clear()
    desk.ask("update", update)
    desk.settle()
    (answer,) = desk.answers
    assert (answer["run"], answer["status"]) == ("r", "completed" if wait else "received")
    assert "UpdateReceived" not in desk.kinds("r~2")


def test_a_signal_sent_again_after_the_run_has_gone_on_is_the_same_signal() -> None:
    desk = Desk()
    desk.started(START)
    signal = calls.Signal(RunId("r"), "go", NOTHING, "s1")
    desk.ask("signal", signal)
    desk.settle()
    desk.goes_on()
    desk.ask("signal", signal)
    desk.ask("start", in_place(START, signals=(GO,)))
    desk.settle()
    assert desk.kinds("r~2") == ["RunStarted"]


class Fits:
    """Inspections and modules of a project in which all code fits; ``meanwhile`` happens while that is found out."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.meanwhile = meanwhile

    async def fit(self, run: Any, digest: Any) -> Any:
        self.meanwhile()
        self.meanwhile = lambda: None
        return SimpleNamespace(error="", difference={}, names={}, timers=())

    async def body(self, digest: Any) -> bytes:
        return msgspec.json.encode(Module(digest, "flow", "", (Workflow("flow", Graph()),)))


@pytest.mark.anyio
async def test_a_run_that_goes_on_while_it_is_moved_is_moved_where_it_is_then() -> None:
    desk = Desk()
    desk.started(START)
    fits = Fits(desk.goes_on)
    moves = Moves(desk.engine, fits, fits)  # type: ignore[arg-type]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(moves.move, desk.engine.runs.open[RunId("r")], calls.Move(RunId("r"), Digest("new")))
        for _ in range(10):
            await anyio.sleep(0)
            desk.settle()
    assert (desk.kinds("r"), desk.kinds("r~2")) == (["RunStarted", "RunContinued"], ["RunStarted", "RunMoved"])


def test_many_who_take_its_place_at_once_all_do_one_after_the_other() -> None:
    desk = Desk()
    desk.started(START)
    for _ in range(5):
        desk.ask("start", in_place(OTHER, on_conflict="terminate_existing"))
    desk.settle()
    assert [answer["id"] for answer in desk.answers] == [f"r~{number}" for number in range(2, 7)]
    assert [desk.kinds(f"r~{number}")[-1] for number in range(2, 7)] == ["RunTerminated"] * 4 + ["RunStarted"]


def test_who_takes_the_place_of_a_run_begins_when_what_that_owed_is_taken_back() -> None:
    desk = Desk()
    desk.started(START)
    desk.happens("r", OWES)
    desk.ask("start", in_place(OTHER, on_conflict="terminate_existing"))
    desk.ask("start", in_place(OTHER, on_conflict="terminate_existing"))
    desk.settle()
    assert desk.answers == [] and desk.kinds("r")[-1] == "TerminateRequested"
    desk.happens("r", e.ObligationSettled(key=Key("o"), outcome="undone"), e.RunTerminated())
    desk.settle()
    assert [answer["id"] for answer in desk.answers] == ["r~2", "r~3"]
    assert (desk.kinds("r~2"), desk.kinds("r~3")) == (["RunStarted", "RunTerminated"], ["RunStarted"])


def test_a_run_that_cannot_take_back_what_it_owes_is_not_waited_for() -> None:
    desk = Desk()
    desk.started(START)
    desk.happens("r", OWES)
    desk.ask("start", in_place(OTHER, on_conflict="terminate_existing"))
    desk.settle()
    desk.happens("r", m.PauseRun("its code does not fit"))
    desk.settle()
    assert [answer["id"] for answer in desk.answers] == ["r~2"] and desk.kinds("r")[-1] == "RunTerminated"
    assert desk.engine.runs.get(RunId("r")).state.obligations  # type: ignore[union-attr]


def test_a_disk_that_refuses_leaves_nobody_waiting_for_the_end_of_a_run() -> None:
    desk = Desk()
    desk.started(START)
    desk.happens("r", OWES)
    desk.settle()
    desk.engine.store.refuse = "full"  # type: ignore[attr-defined]
    desk.ask("start", in_place(OTHER, on_conflict="terminate_existing"))
    desk.settle()
    (error,) = desk.answers
    assert "full" in str(error) and desk.kinds("r")[-1] == "ObligationOpened"
    assert not desk.engine.runs.open[RunId("r")].next
