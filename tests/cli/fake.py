"""A client that answers like the engine would, from memory. Runs: ok, bad, wait, stopped; others are unknown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from flowbook.core import events as e
from flowbook.core.failure import Failure, Frame
from flowbook.core.graph import Edge, Graph, Node
from flowbook.core.ids import CellId, Digest, Key, RunId, Seq
from flowbook.core.module import Cell, Module, Workflow
from flowbook.core.value import Value
from flowbook.errors import UnknownRun, UserError

GRAPH = Graph(
    (Node("load", cell="c1", cell_number=1), Node("clean", cell="c2", cell_number=2)), (Edge("load", "clean"),)
)
MODULE = Module(
    Digest("m"), "shop", "# code", (Workflow("shop", GRAPH),), {"load": Digest("1"), "clean": Digest("2")},
    cells=(Cell(CellId("c1"), 1, ""),),
)  # fmt: skip
FRAME = Frame("clean", 2, cell="c2", number=2, source="1 / 0", locals={"rows": 3})
ERROR = Failure("ZeroDivisionError", "division by zero", (FRAME,), "Traceback ...")


def value(data: Any) -> Value:
    """Encoded JSON."""
    return Value(codec="json", data=msgspec.Raw(msgspec.json.encode(data)))


class FakeClient:
    """Remembers what it was asked."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.said: list[tuple[str, Any]] = []

    def run(self, run: str) -> dict[str, Any]:
        """One summary."""
        status = {"ok": "succeeded", "bad": "failed", "wait": "waiting", "stopped": "cancelled"}.get(run, "")
        if not status and not run.startswith("shop-"):
            raise UnknownRun(f"there is no run '{run}' in this project. `flowbook runs` lists them.")
        status = status or "succeeded"
        return {
            "id": run,
            "workflow": "shop",
            "name": "",
            "status": status,
            "result": value({"total": 3}) if status == "succeeded" else None,
            "error": ERROR if status == "failed" else None,
            "step": "clean" if status == "failed" else "",
            "reason": "",
            "started": 100.0,
            "ended": None if status == "waiting" else 101.5,
            "seq": 4,
            "module": "m",
            "source": "",
            "origin": None,
            "parent": "",
            "continued": "",
            "attributes": {},
            "memo": {},
            "obligations": [],
            "waits": [{"key": "k", "kind": "signal", "name": "ok", "due": None, "since": 1.0}] if run == "wait" else [],
        }

    def runs(self, limit: int, status: str) -> list[dict[str, Any]]:
        """Two summaries."""
        return [self.run("bad"), self.run("ok")]

    def wait(self, run: str, timeout: float | None = None) -> dict[str, Any]:
        """At once."""
        return self.run(run)

    def view(self, run: str, at: int | None = None) -> dict[str, Any]:
        """A small view."""
        summary = self.run(run)
        return {
            **{key: summary[key] for key in ("id", "workflow", "status", "started", "ended", "waits")},
            "steps": {"load": {"status": "done", "attempt": 1}, "clean": {"status": "failed", "attempt": 1}},
            "graph": msgspec.to_builtins(GRAPH),
        }

    def watch(self, run: str | None = None) -> Iterator[dict[str, Any]]:
        """One picture."""
        yield {"view": self.view(str(run))}

    def at(self, run: str, at: int) -> dict[str, Any]:
        """One frame."""
        return {
            "event": at,
            "stack": [FRAME],
            "values": {"rows": value([1, 2]), "df": Value("arrow", type="DataFrame")},
        }

    def history(self, run: str, after: int = 0, limit: int = 0) -> list[e.Recorded]:
        """load done, clean failed."""
        facts = (
            e.RunStarted(RunId(run), "shop", Digest("m"), e.Place("/", "python"), {}, seed="s"),
            e.StepCompleted(Key("load"), "load", value(1)),
            e.StepFailed(Key("clean"), "clean", ERROR),
            e.RunFailed(ERROR, "clean"),
        )
        return [e.Recorded(Seq(n), float(n), fact) for n, fact in enumerate(facts, 1)][: limit or None]

    def module(self, digest: str) -> Module:
        """The one module."""
        return MODULE

    def put_module(self, module: Module) -> str:
        """Accepted."""
        return module.digest

    def start(self, run: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Accepted."""
        self.said.append(("start", (run, *args, kwargs)))
        return self.run(run)

    def signal(self, run: str, name: str, value: Value, id: str = "") -> dict[str, Any]:
        """Accepted."""
        self.said.append(("signal", (name, bytes(value.data), id)))
        return self.run(run)

    def cancel(self, run: str, reason: str = "") -> dict[str, str]:
        """Accepted."""
        return {"outcome": "already done" if run == "ok" else "queued"}

    def ask(self, ask: Any) -> Any:
        """A start, and what is done about what a run owes, accepted; of the runs that match the one that waits."""
        self.said.append((ask.method, ask))
        match ask.method:
            case "start":
                return self.run(ask.params.run)
            case "runs":
                return [self.run("wait")]
            case "settle_obligation":
                return self.run(ask.params.run)
            case "retry_obligation":
                summary = self.run(ask.params.run)
                owed = [{**each, "trying": f"{ask.params.run}.retry-1"} for each in summary["obligations"]]
                return {**summary, "obligations": owed}
        raise AssertionError(ask.method)

    def terminate(self, run: str, reason: str, now: bool) -> dict[str, str]:
        """Accepted."""
        self.said.append(("terminate", (run, reason, now)))
        return {"outcome": "already done" if run == "ok" else "queued" if not now else "terminated"}

    def update(
        self, run: str, name: str, arguments: Any, keywords: Any, id: str, wait: bool, timeout: float | None = None
    ) -> dict[str, Any]:
        """add gives how many arguments it got; refuse and fail do what they say."""
        self.said.append(("update", (name, [bytes(a.data) for a in arguments], id, wait)))
        return self.update_result(run, id, name) if wait else {"run": f"{run}~2", "id": id, "status": "received"}

    def update_result(self, run: str, id: str, name: str, timeout: float | None = None) -> dict[str, Any]:
        """See ``update``."""
        self.said.append(("result", (run, id)))
        status = {"refuse": "rejected", "fail": "failed"}.get(name, "completed")
        failure = None if status == "completed" else Failure("ValueError", "too much")
        given = value(2) if status == "completed" else None
        return {"run": run, "id": id, "status": status, "value": given, "error": failure}

    def query(self, run: str, name: str, arguments: Any = (), keywords: Any = None) -> Value:
        """What it was asked."""
        self.run(run)
        if name == "$handlers":
            return value({"queries": ["echo"], "updates": ["add", "refuse", "fail"], **self.typed(arguments)})
        if name != "echo":
            raise UserError(f"the run answers no query '{name}'; it answers: echo")
        return value([msgspec.json.decode(a.data) for a in arguments])

    def typed(self, arguments: Any) -> dict[str, Any]:
        """add takes texts, and no more than three; the others say nothing."""
        _, name, words = (msgspec.json.decode(argument.data) for argument in arguments)
        if name != "add":
            return {}
        return {"problem": "update add: too many"} if len(words) > 3 else {"texts": [True] * len(words)}

    def complete(self, token: str, value: Value | None = None, failure: Failure | None = None) -> dict[str, Any]:
        """Accepted."""
        self.said.append(("complete", (token, value and bytes(value.data), failure)))
        return self.run("wait")

    def check_runs(self, module: str, runs: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """green, amber and red; "ok" has ended."""
        red = {"reason": "the history has a timer (at /load@1). Do this", "difference": {"key": "/load@1.2", "line": 7}}
        fits = {
            "green": {"fit": "green", "edited": [], "reason": "", "difference": {}},
            "amber": {"fit": "amber", "edited": ["load"], "reason": "", "difference": {}},
            "red": {"fit": "red", "edited": [], **red},
        }
        found = [run for run in runs or fits if run in fits]
        return [{"run": run, **fits[run]} for run in found]

    def move(self, run: str, module: str, source: str) -> dict[str, Any]:
        """Accepted."""
        self.said.append(("move", (run, source)))
        return self.check_runs(module, (run,))[0]

    def sql(self, query: str, limit: int, timeout: float = 60.0) -> dict[str, Any]:
        """One row."""
        self.said.append(("sql", (query, limit, timeout)))
        return {"columns": [{"name": "n", "type": "BIGINT"}], "rows": [[42]], "more": False}
