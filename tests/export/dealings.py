"""Histories of runs that deal with others: progress, a queue, children, answers from outside, obligations."""

from __future__ import annotations

from typing import Any

import msgspec

from flowbook.core import events as e
from flowbook.core.event import Parent
from flowbook.core.failure import Failure
from flowbook.core.graph import Edge, Graph, Node
from flowbook.core.ids import Digest, Key, RunId, Seq
from flowbook.core.module import Module, Workflow
from flowbook.core.value import Value
from flowbook.core.view import RunView
from flowbook.export.layout import layout

GRAPH = Graph(
    (
        Node("params", "params", writes=("region",)),
        Node("create_vm", reads=("region",), writes=("vm",), options={"retries": 3}),
        Node("train", reads=("vm",), writes=("model",), options={"queue": "gpu"}),
        Node("score", "map", reads=("model",), writes=("scores",), options={"map": "rows as row"}),
        Node("report", reads=("scores",), writes=("page",)),
    ),
    (
        Edge("params", "create_vm", ("region",)),
        Edge("create_vm", "train", ("vm",)),
        Edge("train", "score", ("model",)),
        Edge("score", "report", ("scores",)),
    ),
)
REFUSED = Failure("HTTPError", "503: the cloud says come back later")


def value(data: object) -> Value:
    body = msgspec.json.encode(data)
    return Value(codec="json", data=msgspec.Raw(body), size=len(body))


def key(name: str) -> Key:
    return Key(f"/t/{name}")


BUSY: tuple[tuple[float, Any], ...] = (
    (0.05, e.RunBegan()),
    (0.1, e.ObligationOpened(key("owe.vm"), "vm", "operation")),
    (0.2, e.StepStarted(key("create_vm"), "create_vm")),
    (1.0, e.StepAttemptFailed(key("create_vm"), "create_vm", 1, REFUSED, 1003.0, started=1000.2)),
    (3.0, e.StepStarted(key("create_vm"), "create_vm", 2)),
    (4.0, e.StepCompleted(key("create_vm"), "create_vm", value({"vm": 1}), attempt=2, started=1003.0)),
    (4.1, e.AttributesSet(key("attributes"), {"customer": "Ines", "stage": 2})),
    (4.2, e.ObligationOpened(key("owe.disk"), "disk")),
    (4.3, e.ObligationFailed(key("owe.disk"), REFUSED)),
    (4.4, e.StepScheduled(key("train"), "train", "gpu")),
    (7.0, e.StepStarted(key("train"), "train")),
    (8.0, e.StepHeartbeat(key("train"), "train", 1, value({"epoch": 3}))),
    (9.0, e.StepProgress(key("train"), "train", 1, 42, 100, "epoch 42 of 100")),
    (9.1, e.ChildStarted(key("clean"), "clean_up", RunId("provision-1.c1"))),
    (9.2, e.StepWaiting(key("sign"), "signature", expires=9000.0)),
    (9.3, e.SignalSent(key("s"), "signal go", RunId("billing-7"), "go", value(True))),
    (9.4, e.StepCompleted(key("s"), "signal go", value(None), started=1009.3)),
    (9.5, e.UpdateReceived("u1", "add_item")),
    (9.6, e.UpdateCompleted("u1", "add_item", value(3))),
    (9.7, e.UpdateReceived("u2", "add_item")),
    (9.8, e.UpdateFailed("u2", "add_item", Failure("ValueError", "no room for it"), rejected=True)),
    (9.9, e.PatchMarked("new-price")),
    (10.0, e.RunMoved(Digest("m2"), source="provision.ipynb")),
)
ENDS: dict[str, tuple[tuple[float, Any], ...]] = {
    "going": (),
    "stopping": ((10.5, e.CancelRequested("budget is used up")),),
    "terminated": ((11.0, e.TerminateRequested("wrong region")), (11.5, e.RunTerminated("wrong region"))),
    "continued": ((11.0, e.RunContinued(RunId("provision-1~2"))),),
    "late": ((11.0, e.CancelRequested(cause="timeout")), (11.1, e.RunFailed(Failure("TimeoutError", "30 min are up")))),
}


def history(end: str) -> list[e.Recorded]:
    """A busy run, and how it goes on."""
    started = e.RunStarted(
        RunId("provision-1"),
        "provision",
        Digest("m"),
        e.Place("/", "python"),
        {"region": value("north")},
        timeout=1800.0,
        parent=Parent(RunId("fleet-9"), key("p")),
        queue="builds",
        memo={"asked by": value("Ines")},
    )
    events = ((0.0, started), *BUSY, *ENDS[end])
    return [e.Recorded(Seq(n), 1000.0 + at, event) for n, (at, event) in enumerate(events, 1)]


def view(end: str) -> dict[str, Any]:
    """The view of it."""
    fold = RunView(Module(Digest("m"), "provision", "", (Workflow("provision", layout(GRAPH)),)))
    for recorded in history(end):
        fold.apply(recorded)
    return fold.shown()
