"""A graph with every kind of node and edge, and a view of it in which most things happen."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec

from flowbook.core.graph import Edge, Graph, Node
from flowbook.export.layout import layout

HOSTILE = '</text><script>alert("1")</script>&\'\x00\ud800 <img src=x onerror=alert(2)>'
START = 1000.0

GRAPH = Graph(
    (
        Node("params", "params", writes=("region", "size")),
        Node("plan", reads=("region", "size"), writes=("name",), cell="c4", cell_number=4),
        Node("create", reads=("name",), writes=("vm",), options={"retries": 5, "timeout": "10s"}),
        Node("wait_until_ready", "loop", reads=("vm",), writes=("state",), options={"until": 'state == "ready"'}),
        Node("fetch", "map", reads=("vm",), writes=("pages",), options={"map": "regions as region"}),
        Node("approval", "wait", writes=("approved",), options={"wait": "approval", "timeout": "24h"}),
        Node("cool_down", "wait", options={"wait": "2h"}),
        Node("record", reads=("vm", "pages"), writes=("address",)),
        Node("notify", reads=("address",), options={"when": "approved"}),
        Node("archive", reads=("address",), writes=("archive",)),
        Node("delete", "undo", reads=("name",), options={"until": "gone"}),
    ),
    (
        Edge("params", "plan", ("region", "size")),
        Edge("plan", "create", ("name",)),
        Edge("create", "wait_until_ready", ("vm",)),
        Edge("create", "fetch", ("vm",)),
        Edge("fetch", "approval", kind="order"),
        Edge("wait_until_ready", "cool_down", kind="order"),
        Edge("fetch", "record", ("pages",)),
        Edge("record", "notify", ("address",)),
        Edge("approval", "notify", ("approved",)),
        Edge("record", "archive", ("address",)),
        Edge("create", "delete", kind="undo"),
    ),
)


def attempt(start: float, end: float | None, status: str = "done", number: int = 1, item: int | None = None) -> Any:
    """One row of a step's attempts, in seconds after the start."""
    ended = None if end is None else START + end
    return {"attempt": number, "item": item, "status": status, "started": START + start, "ended": ended}


def step(status: str, *attempts: Any, **more: Any) -> dict[str, Any]:
    """A step's part of a view."""
    ends = [a["ended"] for a in attempts]
    return {
        "status": status,
        "attempt": max((a["attempt"] for a in attempts), default=0),
        "attempts": list(attempts),
        "started": attempts[0]["started"] if attempts else None,
        "ended": ends[-1] if ends and None not in ends else None,
        "retry_at": None,
        "reason": "",
        "items": None,
        "grid": "",
        "error": None,
        "output": [],
        "values": {},
        **more,
    }


def error(kind: str, message: str, step: str = "", line: int = 0) -> dict[str, Any]:
    """A view's error."""
    return {"type": kind, "message": message, "step": step, "cell": "c4", "number": 4, "line": line, "text": ""}


def view(**more: Any) -> dict[str, Any]:
    """A run in the middle of everything."""
    grid = "d" * 23 + "f" + "d" * 6 + "rrrt" + "-" * 12
    items = [attempt(6.2 + i * 0.11, 6.9 + i * 0.12, "failed" if i == 23 else "done", item=i) for i in range(30)]
    items += [attempt(7211 + i * 0.3, None, "running", item=30 + i) for i in range(3)]
    return {
        "id": "provision_vm-3f2a91bc",
        "workflow": "provision_vm",
        "name": "",
        "status": "running",
        "module": "m",
        "source": "",
        "started": START,
        "ended": None,
        "seq": 41,
        "time": START + 7214.2,
        "origin": {"run": "provision_vm-11aa22bb", "seq": 7},
        "result": None,
        "error": None,
        "steps": {
            "params": step("done"),
            "plan": step("done", attempt(0.02, 0.35), values={"name": {"type": "str", "preview": "'vm-1'", "size": 6}}),
            "create": step("done", attempt(0.4, 1.2, "failed"), attempt(4, 6.1, number=2)),
            "wait_until_ready": step("waiting", attempt(6.2, 6.6), attempt(7.6, 8), retry_at=START + 7215, ended=None),
            "fetch": step(
                "running", *items, items={"total": 46, "done": 29, "failed": 1, "running": 4}, grid=grid, ended=None
            ),
            "approval": step("waiting", started=START + 10),
            "cool_down": step("not reached"),
            "record": step(
                "retrying",
                attempt(9, 9.5, "failed"),
                attempt(7210, 7212, "lost", number=2),
                retry_at=START + 7217,
                ended=None,
                error=error("HTTPError", "503"),
            ),
            "notify": step("skipped", reason="its condition is false"),
            "archive": step("failed", attempt(7210, 7213, "failed"), error=error("ValueError", "no room", line=3)),
            "delete": step("not reached"),
        },
        "waits": [
            {
                "key": "k",
                "kind": "signal",
                "name": "approval",
                "due": None,
                "since": START + 10,
                "step": "approval",
            }
        ],
        "graph": msgspec.to_builtins(layout(GRAPH)),
        **more,
    }


def hostile() -> tuple[Graph, dict[str, Any]]:
    """A graph and a view in which every text that a user can choose tries to be markup."""
    nodes = tuple(
        Node(f"{HOSTILE}{kind}", kind, reads=(HOSTILE,), writes=(HOSTILE,), options={"map": HOSTILE}, doc=HOSTILE)
        for kind in ("params", "step", "map", "loop", "wait", "undo")
    )
    edges = tuple(Edge(a.id, b.id, (HOSTILE,), "undo" if b.kind == "undo" else "data") for a, b in pairwise(nodes))
    graph = Graph(nodes, edges)
    shown = {"type": HOSTILE, "preview": HOSTILE, "size": 3}
    failed = step(
        "failed",
        attempt(1, 2, "failed"),
        error=error(HOSTILE, HOSTILE, HOSTILE, 1),
        reason=HOSTILE,
        values={HOSTILE: shown},
        output=[{"stream": "stdout", "text": HOSTILE}],
    )
    wait = {"key": "k", "kind": "signal", "name": HOSTILE, "due": None, "since": START, "step": HOSTILE}
    made = view(
        id=HOSTILE,
        workflow=HOSTILE,
        name=HOSTILE,
        origin={"run": HOSTILE, "seq": 2},
        error=error(HOSTILE, HOSTILE, HOSTILE, 1),
        steps={node.id: failed for node in nodes} | {HOSTILE: failed},
        waits=[wait],
        graph=msgspec.to_builtins(layout(graph)),
    )
    return graph, made
