"""Histories for eyes: real ones, made by running workflows in memory, and arbitrary ones."""

from __future__ import annotations

import random

import msgspec
from hypothesis import strategies as st

from flowbook.core import events as e
from flowbook.core.failure import Failure, Frame
from flowbook.core.graph import Edge, Graph, Node
from flowbook.core.ids import Digest, Key, RunId, Seq
from flowbook.core.module import Module, Workflow
from flowbook.core.value import Value

GRAPH = Graph(
    (
        Node("params", "params", writes=("since",)),
        Node("load", writes=("rows", "bad"), reads=("since",)),
        Node("score", "map", reads=("rows",), writes=("scores",), options={"map": "rows as row"}),
        Node("ready", "loop", options={"loop": {"until": "ok"}}),
        Node("approval", "wait", writes=("approved",), options={"wait": "approval", "timeout": "24h"}),
        Node("cool_down", "wait", options={"wait": "2h"}),
        Node("ask", options={"wait": "signal go"}),
        Node("delete", "undo", options={"loop": {"until": "gone"}}),
    ),
    (
        Edge("params", "load", ("since",)),
        Edge("load", "score", ("rows",)),
        Edge("load", "cool_down", kind="order"),
        Edge("load", "delete", kind="undo"),
    ),
)
MODULE = Module(Digest("m"), "report", "", (Workflow("report", GRAPH),))
FAILURE = Failure("ValueError", "no", (Frame("load", 2, cell="c1", number=4),), "Traceback …")


def value(data: object) -> Value:
    body = msgspec.json.encode(data)
    return Value(codec="json", data=msgspec.Raw(body), size=len(body))


def started() -> e.RunStarted:
    return e.RunStarted(RunId("r-1"), "report", Digest("m"), e.Place("/", "python"), {"since": value("today")})


def recorded(*events: object, start: float = 100.0) -> list[e.Recorded]:
    """The events one second apart; a number between them moves the clock on."""
    history: list[e.Recorded] = []
    now = start
    for event in (started(), *events):
        if isinstance(event, (int, float)):
            now += event
            continue
        history.append(e.Recorded(Seq(len(history) + 1), now, event))  # type: ignore[arg-type]
        now += 1
    return history


def _pool() -> list[e.AnyEvent]:
    """Events of every kind over few keys, so that arbitrary ones meet; drawing from a list is quick."""
    chance = random.Random(7)
    names = [*(node.id for node in GRAPH.nodes[1:]), "unknown"]
    values = [value(None), value([1, 2]), value({"a": "<b>"}), Value("arrow", file=Digest("f"), size=9)]
    chunks = (e.Chunk("stdout", "one"), e.Chunk("stderr", "two"), e.Chunk("display", data={"image/png": "aGk="}))
    pool: list[e.AnyEvent] = [e.RunPaused("the code changed"), e.RunResumed(), e.CancelRequested()]
    for _ in range(40):
        name, attempt, item = chance.choice(names), chance.randint(1, 3), chance.choice([None, None, 0, 1, 4])
        task = chance.choice("ab")
        key, timer = Key(f"/{task}/{name}.{attempt}"), Key(f"/{task}/timer.{attempt}")
        signal = chance.choice(["approval", "go", "other"])
        asked = Key(f"/{task}/signal.{signal}")
        pool += [
            e.StepStarted(key, name, attempt, item=item),
            e.StepOutput(key, name, attempt, chunks, item),
            e.StepCompleted(key, name, chance.choice(values), attempt=attempt, output=chunks[:1], item=item),
            e.StepAttemptFailed(key, name, attempt, FAILURE, 200.0, chance.random() < 0.3, item=item),
            e.StepFailed(key, name, FAILURE, attempt=attempt, item=item),
            e.StepCancelled(key, name, attempt, item),
            e.StepReused(key, name, chance.choice(values), item=item),
            e.StepSkipped(key, name, "its condition is false"),
            e.MapStarted(key, name, chance.randint(0, 5)),
            e.TimerStarted(timer, chance.choice([130.0, 7305.0])),
            e.TimerFired(timer),
            e.TimerCancelled(timer),
            e.SignalAwaited(asked, signal),
            e.SignalDropped(asked, signal),
            e.SignalReceived(signal, chance.choice(values)),
            e.StepScheduled(key, name, "gpu", item=item),
            e.StepWaiting(key, name, attempt, expires=chance.choice([0.0, 400.0]), item=item),
            e.StepProgress(key, name, attempt, float(attempt), chance.choice([0.0, 4.0]), "half", item),
            e.StepHeartbeat(key, name, attempt, chance.choice(values), item),
            e.ChildStarted(key, name, RunId(f"r-1.{attempt}"), close=chance.choice(["cancel", "terminate", "abandon"])),
            e.SignalSent(key, f"signal {signal}", RunId("other"), signal, chance.choice(values)),
            e.UpdateReceived(str(attempt), "add"),
            e.UpdateCompleted(str(attempt), "add", chance.choice(values)),
            e.UpdateFailed(str(attempt), "add", FAILURE, chance.random() < 0.5),
            e.ObligationOpened(Key(f"/{task}/owe.{attempt}"), name),
            e.ObligationSettled(Key(f"/{task}/owe.{attempt}"), chance.choice(["kept", "undone", "cancelled"])),
            e.ObligationFailed(Key(f"/{task}/owe.{attempt}"), FAILURE),
            e.AttributesSet(key, {"customer": chance.choice(["x", None])}),
            e.PatchMarked(f"p{attempt}"),
            e.RunMoved(Digest(f"m{attempt}"), source="moved.py"),
            e.TerminateRequested("enough"),
        ]
    return pool


POOL = _pool()
CLOSINGS: list[e.AnyEvent] = [
    e.RunCompleted(value(1)),
    e.RunFailed(FAILURE, "load"),
    e.RunFailed(Failure("TimeoutError", "step 'ready' was not done after 5 rounds")),
    e.RunFailed(Failure("TimeoutError", "")),
    e.RunCancelled(),
    e.RunTerminated("enough"),
    e.RunContinued(RunId("r-1~2")),
]
OPEN = st.lists(st.sampled_from(POOL), max_size=30).map(lambda events: recorded(*events))
CLOSED = st.builds(
    lambda events, closing: recorded(*events, closing),
    st.lists(st.sampled_from(POOL), max_size=30),
    st.sampled_from(CLOSINGS),
)
HISTORIES = OPEN | CLOSED
