"""A run for eyes: its history folded into a plain dict, which every display draws and none computes.

Only what is shown is kept; values are previews. The dict's shape is in ``docs/architecture.md``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import msgspec

from flowbook.core import events as e
from flowbook.core import value as values
from flowbook.core.failure import Failure
from flowbook.core.graph import Graph, Node
from flowbook.core.ids import Key
from flowbook.core.module import Module
from flowbook.core.patch import difference, patched
from flowbook.core.value import Value

ATTEMPTS = 200
"""Attempts listed for a step; the last ones."""

OUTPUT = 64 * 1024
"""Characters of text kept of a step's output; the last ones."""

_LETTERS = {"running": "r", "retrying": "t", "done": "d", "reused": "u", "failed": "f", "cancelled": "c"}
_OPEN = ("running", "retrying", "waiting", "queued")


def view(history: Iterable[e.Recorded], module: Module | None) -> dict[str, Any]:
    """The view after these events."""
    fold = RunView(module)
    for recorded in history:
        fold.apply(recorded)
    return fold.shown()


class RunView:
    """A view under construction, one event at a time."""

    def __init__(self, module: Module | None) -> None:
        self._module = module
        self._nodes: dict[str, Node] = {}
        self._view: dict[str, Any] = {
            "id": "",
            "workflow": "",
            "name": "",
            "status": "running",
            "module": "",
            "source": "",
            "started": 0.0,
            "ended": None,
            "seq": 0,
            "time": 0.0,
            "origin": None,
            "result": None,
            "error": None,
            "steps": {},
            "waits": [],
            "graph": None,
        }
        self._items: dict[str, dict[int, str]] = {}
        self._waits: dict[Key, dict[str, Any]] = {}
        self._paths: dict[str, str] = {}
        self._paused = False

    def apply(self, recorded: e.Recorded) -> None:
        """Take in one more event."""
        view, event = self._view, recorded.event
        view["seq"], view["time"] = recorded.seq, recorded.time
        match event:
            case e.RunStarted():
                self._start(event, recorded.time)
            case e.RunCompleted():
                view["result"] = _value(event.value)
                self._end("succeeded", recorded.time)
            case e.RunFailed():
                view["error"] = {**_error(event.failure), "step": event.step}
                self._end("failed", recorded.time)
            case e.RunCancelled():
                self._end("cancelled", recorded.time)
            case e.RunPaused():
                self._paused = True
                view["error"] = {"type": "Paused", "message": event.reason, "step": "", "cell": None, "line": 0}
            case e.RunResumed():
                self._paused, view["error"] = False, None
            case e.TimerStarted() | e.SignalAwaited() | e.TimerFired() | e.TimerCancelled() | e.SignalDropped():
                self._wait(event, recorded.time)
            case e.SignalReceived():
                self._signalled(event.name)
            case e.MapStarted():
                step = self._step(event.step)
                step["items"] = {"total": event.total, "done": 0, "failed": 0, "running": 0}
                self._items[event.step] = {}
                step["grid"] = "-" * event.total
                step["status"] = "done" if event.total == 0 else "running"
                step["started"] = step["started"] or recorded.time
            case e.CancelRequested():
                pass
            case _:
                self._step_event(event, recorded.time)
        if view["ended"] is None:
            view["status"] = self._status()

    def shown(self) -> dict[str, Any]:
        """The view as it is now; later events do not change what was given."""
        shown = dict(self._view)
        shown["steps"] = copy.deepcopy(self._view["steps"])
        shown["waits"] = [dict(wait) for wait in self._waits.values()]
        return shown

    def _start(self, event: e.RunStarted, time: float) -> None:
        origin = {"run": event.origin.run, "seq": event.origin.seq} if event.origin else None
        self._view |= {
            "id": event.run,
            "workflow": event.workflow,
            "name": event.name,
            "module": event.module,
            "source": event.source,
            "started": time,
            "origin": origin,
        }
        workflow = self._module.workflow(event.workflow) if self._module else None
        graph = workflow.graph if workflow else Graph()
        self._view["graph"] = msgspec.to_builtins(graph)
        for node in graph.nodes:
            self._nodes[node.id] = node
            step = self._step(node.id)
            if node.kind == "params":
                step["status"] = "done"
                step["values"] = {name: _value(value) for name, value in event.arguments.items()}

    def _end(self, status: str, time: float) -> None:
        self._view["status"], self._view["ended"] = status, time
        self._waits.clear()
        for step in self._view["steps"].values():
            if step["status"] in _OPEN:
                step["status"], step["ended"], step["retry_at"] = "cancelled", time, None
                if step["items"]:
                    step["items"]["running"] = 0
            for attempt in step["attempts"]:
                if attempt["status"] in _OPEN:
                    attempt["status"], attempt["ended"] = "cancelled", time

    def _status(self) -> str:
        if self._paused:
            return "paused"
        busy = any(step["status"] in ("running", "retrying") for step in self._view["steps"].values())
        return "waiting" if self._waits and not busy else "running"

    # Steps

    def _step(self, name: str) -> dict[str, Any]:
        steps: dict[str, dict[str, Any]] = self._view["steps"]
        if name not in steps:
            steps[name] = {
                "status": "not reached",
                "attempt": 0,
                "attempts": [],
                "started": None,
                "ended": None,
                "retry_at": None,
                "reason": "",
                "items": None,
                "grid": "",
                "error": None,
                "output": [],
                "values": {},
            }
        return steps[name]

    def _step_event(self, event: Any, time: float) -> None:
        step = self._step(event.step)
        self._paths[event.key.rpartition("/")[0]] = event.step
        match event:
            case e.StepStarted():
                self._attempt(step, event, "running", time, None)
                self._settle(step, event, "running", time)
            case e.StepOutput():
                self._show(step, event.output)
            case e.StepCompleted():
                self._attempt(step, event, "done", event.started or time, time)
                step["values"] = self._values(event)
                self._settle(step, event, "done", time)
            case e.StepReused():
                step["values"] = self._values(event)
                self._settle(step, event, "reused", time)
                step["reason"] = f"kept from {event.run}"
            case e.StepAttemptFailed():
                self._attempt(step, event, "lost" if event.lost else "failed", event.started or time, time)
                step["error"], step["retry_at"] = _error(event.failure), event.retry_at
                self._settle(step, event, "retrying", time)
            case e.StepFailed():
                self._attempt(step, event, "lost" if event.lost else "failed", event.started or time, time)
                step["error"] = _error(event.failure)
                self._settle(step, event, "failed", time)
            case e.StepCancelled():
                self._attempt(step, event, "cancelled", step["started"] or time, time)
                self._settle(step, event, "cancelled", time)
            case e.StepSkipped():
                step["status"], step["reason"] = "skipped", event.reason

    def _attempt(self, step: dict[str, Any], event: Any, status: str, started: float, ended: float | None) -> None:
        attempts: list[dict[str, Any]] = step["attempts"]
        for known in reversed(attempts):
            if (known["attempt"], known["item"], known["status"]) == (event.attempt, event.item, "running"):
                known["status"], known["ended"] = status, ended
                break
        else:
            row = {"attempt": event.attempt, "item": event.item, "status": status, "started": started, "ended": ended}
            step["attempts"] = [*attempts[-ATTEMPTS + 1 :], row]
        step["attempt"] = event.attempt
        step["started"] = step["started"] or started
        self._show(step, getattr(event, "output", ()))

    def _settle(self, step: dict[str, Any], event: Any, status: str, time: float) -> None:
        """Set the step's status; for a mapped step, that of all its items together."""
        if status != "retrying":
            step["retry_at"] = None
        if status in ("done", "reused"):
            step["error"] = None
        if event.item is not None and step["items"]:
            self._items[event.step][event.item] = status
            status = self._settle_items(step, event.step, event.item)
        step["status"] = status
        step["ended"] = None if status in _OPEN else time

    def _settle_items(self, step: dict[str, Any], name: str, item: int) -> str:
        items = self._items[name]
        grid, counts = step["grid"], step["items"]
        before, after = grid[item : item + 1], _LETTERS[items[item]]
        step["grid"] = f"{grid[:item]}{after}{grid[item + 1 :]}"
        for letter, change in ((before, -1), (after, 1)):
            group = {"d": "done", "u": "done", "f": "failed", "r": "running", "t": "running"}.get(letter)
            if group:
                counts[group] += change
        if counts["done"] == counts["total"]:
            return "reused" if set(step["grid"]) == {"u"} else "done"
        if counts["done"] + counts["failed"] == counts["total"]:
            return "failed"
        return "retrying" if "t" in step["grid"] and "r" not in step["grid"] else "running"

    def _values(self, event: e.StepCompleted | e.StepReused) -> dict[str, Any]:
        node = self._nodes.get(event.step)
        names = node.writes if node is not None else ()
        if event.item is not None and not names:
            names = (event.step,)
        if len(names) < 2:
            return {names[0] if names else event.step: _value(event.value)}
        members = values.parts(event.value, len(names))
        if members is None:
            return {", ".join(names): _value(event.value)}
        return {name: _value(member) for name, member in zip(names, members, strict=True)}

    def _show(self, step: dict[str, Any], chunks: Iterable[e.Chunk]) -> None:
        output = [*step["output"], *(msgspec.to_builtins(chunk) for chunk in chunks)]
        size, kept = 0, 0
        for chunk in reversed(output):
            size += len(chunk.get("text", ""))
            if size > OUTPUT:
                break
            kept += 1
        step["output"] = output[len(output) - max(1, kept) :] if output else []

    # Waiting

    def _wait(
        self,
        event: e.TimerStarted | e.SignalAwaited | e.TimerFired | e.TimerCancelled | e.SignalDropped,
        time: float,
    ) -> None:
        match event:
            case e.TimerStarted():
                step = self._paths.get(event.key.rpartition("/")[0], "")
                looped = step in self._nodes and self._nodes[step].kind == "loop"
                if looped:
                    self._view["steps"][step] |= {"status": "waiting", "ended": None, "retry_at": event.due}
                self._waits[event.key] = {
                    "key": event.key,
                    "kind": "timer",
                    "name": event.label,
                    "due": event.due,
                    "since": time,
                    "step": step if looped else "",
                }
            case e.SignalAwaited():
                step = self._waiting_node(event.name)
                if step:
                    self._step(step)["status"] = "waiting"
                self._waits[event.key] = {
                    "key": event.key,
                    "kind": "signal",
                    "name": event.name,
                    "due": None,
                    "since": time,
                    "step": step,
                }
            case e.TimerFired() | e.TimerCancelled() | e.SignalDropped():
                ended = self._waits.pop(event.key, None)
                if ended is not None and ended["kind"] == "signal" and ended["step"]:
                    self._step(ended["step"])["status"] = "not reached"

    def _signalled(self, name: str) -> None:
        for key, wait in self._waits.items():
            if wait["kind"] == "signal" and wait["name"] == name:
                del self._waits[key]
                if wait["step"]:
                    step = self._step(wait["step"])
                    step["status"], step["ended"] = "done", self._view["time"]
                return

    def _waiting_node(self, signal: str) -> str:
        for node in self._nodes.values():
            named = str(node.options.get("wait", "")).split()
            if named and named[-1] == signal:
                return node.id
        return ""


def _value(value: Value) -> dict[str, Any]:
    shown = {"type": value.type or value.codec, "preview": value.preview, "size": value.size}
    if value.codec == "json" and value.data and len(value.data) <= values.SHOWN:
        plain = values.shown(value)
        return {**shown, "json": plain, "preview": value.preview or msgspec.json.encode(plain).decode()[:400]}
    return {**shown, "preview": value.preview or f"{value.size} bytes of {value.codec}"}


def _error(failure: Failure) -> dict[str, Any]:
    place = next((frame for frame in reversed(failure.frames) if frame.cell is not None), None)
    place = place or (failure.frames[-1] if failure.frames else None)
    return {
        "type": failure.type,
        "message": failure.message,
        "step": "",
        "cell": place.cell if place else None,
        "number": place.number if place else 0,
        "line": place.line if place else 0,
        "text": failure.text[-8000:],
    }


__all__ = ["RunView", "difference", "patched", "view"]
