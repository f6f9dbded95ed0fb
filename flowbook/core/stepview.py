"""One step of a run for eyes: what its events add up to. The run as a whole is ``core.view``'s."""

from __future__ import annotations

from typing import Any

import msgspec

from flowbook.core import events as e
from flowbook.core import value as values
from flowbook.core.failure import Failure
from flowbook.core.graph import Node
from flowbook.core.ids import Key
from flowbook.core.outputview import OutputView
from flowbook.core.value import Value

ATTEMPTS = 200
"""Attempts and pauses listed for a step; the last ones."""

SLACK = 50
"""So many more may be listed for a while."""

OPEN = ("running", "retrying", "waiting", "queued")
LETTERS = {"running": "r", "retrying": "t", "waiting": "w", "done": "d", "reused": "u", "failed": "f", "cancelled": "c"}
_STOPPED = str.maketrans("rtw", "ccc")
_COUNTED = {"d": "done", "u": "done", "f": "failed", "r": "running", "t": "running", "w": "running"}


class StepView:
    """A step's part of the view under construction.

    ``where`` says who does it: "" (the run's own worker), queue, outside, child or signal (another run).
    """

    def __init__(self, node: Node | None) -> None:
        self.node = node
        self.now: dict[str, Any] = {
            "status": "not reached",
            "attempt": 0,
            "attempts": [],
            "started": None,
            "ended": None,
            "retry_at": None,
            "reason": "",
            "rounds": 0,
            "pauses": [],
            "items": None,
            "grid": "",
            "error": None,
            "output": [],
            "values": {},
            "where": "",
            "queue": "",
            "run": "",
            "progress": None,
            "heartbeat": None,
        }
        self._shown: dict[str, Any] | None = None
        self._going: dict[tuple[Key, int], dict[str, Any]] = {}
        self._open: dict[Key, str] = {}
        self._parts: dict[int, float] = {}
        self._output = OutputView()

    @property
    def status(self) -> str:
        """The step's status."""
        return str(self.now["status"])

    @property
    def busy(self) -> bool:
        """True where somebody works on it now, or soon; a child run's work is its own."""
        if self.now["where"] == "queue" and self.status == "queued":
            return True
        return self.status in ("running", "retrying") and self.now["where"] != "child"

    def shown(self) -> dict[str, Any]:
        """The step as it is now; the same object until something about it changes."""
        if self._shown is None:
            self._shown = self._copied()
        return self._shown

    def _copied(self) -> dict[str, Any]:
        """A copy of what later events change in place; all else is replaced by them, and may be shared."""
        now = self.now
        return {
            **now,
            "attempts": [dict(row) for row in now["attempts"]],
            "pauses": [list(pause) for pause in now["pauses"]],
            "items": now["items"] and dict(now["items"]),
            "output": self._output.shown(),
        }

    def set(self, status: str, time: float, **more: Any) -> None:
        """Take a status and facts that go with it."""
        self._shown = None
        self.now.update(more, status=status, ended=None if status in OPEN else time)

    def apply(self, event: Any, time: float) -> None:
        """Take in an event of this step."""
        self._shown = None
        self.resumed(time)
        match event:
            case e.StepStarted():
                self._attempt(event, "running", time, None)
                self._settle(event, "running", time)
            case e.StepOutput():
                self._output.add(event.output)
            case e.StepCompleted():
                self._attempt(event, "done", event.started or time, time)
                self.now["values"] = self._values(event)
                self.now["rounds"] += event.item is None
                self._settle(event, "done", time)
            case e.StepReused():
                self.now["values"] = self._values(event)
                self.now["rounds"] += event.item is None
                self._settle(event, "reused", time)
                self.now["reason"] = f"kept from {event.run}"
            case e.StepAttemptFailed():
                self._attempt(event, "lost" if event.lost else "failed", event.started or time, time)
                self.now["error"], self.now["retry_at"] = error_view(event.failure), event.retry_at
                self._settle(event, "retrying", time)
            case e.StepFailed():
                self._attempt(event, "lost" if event.lost else "failed", event.started or time, time)
                self.now["error"] = error_view(event.failure)
                self._settle(event, "failed", time)
            case e.StepCancelled():
                self._attempt(event, "cancelled", self.now["started"] or time, time)
                self._settle(event, "cancelled", time)
            case e.StepSkipped():
                self.set("skipped", time, reason=event.reason)
            case e.MapStarted():
                self._map(event.total, time)
            case e.StepScheduled():
                self._scheduled(event, time)
            case e.StepWaiting():
                self.now["where"] = "outside"
                self._attempt(event, "waiting", self.now["started"] or time, None)
                self._settle(event, "waiting", time)
                if event.item is None:
                    self.now["retry_at"] = event.expires or None
            case e.StepProgress():
                self._progress(event)
            case e.StepHeartbeat():
                self.now["heartbeat"] = {"time": time, "details": value_view(event.details)}
            case e.ChildStarted() | e.SignalSent() | e.CancelSent():
                self._elsewhere(event, time)

    def waits(self, time: float, due: float | None) -> None:
        """The step waits from now on: for a time, a signal, its next round."""
        self.set("waiting", time, retry_at=due, started=self.now["started"] or time)
        pauses = self.now["pauses"]
        if not pauses or pauses[-1][1] is not None:
            kept = pauses[-ATTEMPTS + 1 :] if len(pauses) >= ATTEMPTS + SLACK else pauses
            self.now["pauses"] = [*kept, [time, None]]

    def resumed(self, time: float) -> None:
        """It no longer waits."""
        pauses = self.now["pauses"]
        if pauses and pauses[-1][1] is None:
            self._shown = None
            pauses[-1][1] = time
            self.now["retry_at"] = None

    def close(self, time: float) -> None:
        """The run has ended: nothing of this step goes on."""
        self._shown = None
        self._open.clear()
        self.resumed(time)
        if self.status in OPEN:
            self.set("cancelled", time, retry_at=None)
        if self.now["items"]:
            self.now["items"]["running"] = 0
            self.now["grid"] = self.now["grid"].translate(_STOPPED)
        for attempt in self.now["attempts"]:
            if attempt["status"] in OPEN:
                attempt["status"], attempt["ended"] = "cancelled", time

    def _scheduled(self, event: e.StepScheduled, time: float) -> None:
        self.now["where"], self.now["queue"] = "queue", event.queue
        if event.item is not None and self.now["items"]:
            return
        self._open[event.key] = "queued"
        started = self.now["started"]
        self.waits(time, None)
        self.set(self._among("queued"), time, started=started)

    def _elsewhere(self, event: e.ChildStarted | e.SignalSent | e.CancelSent, time: float) -> None:
        """Another run does it: a row of its own, like an attempt, that says which."""
        child = isinstance(event, e.ChildStarted)
        self.now["where"], self.now["run"] = "child" if child else "signal", event.run
        row = {"attempt": 1, "item": None, "started": time, "status": "running", "ended": None, "run": event.run}
        self._add(row)
        self._going[event.key, 1] = row
        self._open[event.key] = "running"
        self.now["attempt"], self.now["started"] = 1, self.now["started"] or time
        self.set("running", time)

    def _progress(self, event: e.StepProgress) -> None:
        items = self.now["items"]
        if event.item is not None and items:
            self._parts[event.item] = min(1.0, event.done / event.total) if event.total else 0.0
            self.now["progress"] = {"done": 0.0, "total": 0.0, "text": event.text}
            self._gather_progress()
        else:
            self.now["progress"] = {"done": event.done, "total": event.total, "text": event.text}

    def _gather_progress(self) -> None:
        """Of a mapped step: its finished items, and the parts that those at work have told of."""
        progress, items = self.now["progress"], self.now["items"]
        if progress is not None and items:
            done = items["done"] + items["failed"] + sum(self._parts.values())
            self.now["progress"] = {**progress, "done": round(done, 3), "total": float(items["total"])}

    def _map(self, total: int, time: float) -> None:
        self.set("running" if total else "done", time, grid="-" * total, started=self.now["started"] or time)
        self.now["items"] = {"total": total, "done": 0, "failed": 0, "running": 0}

    def _attempt(self, event: Any, status: str, started: float, ended: float | None) -> None:
        mark = event.key, event.attempt
        row = self._going.pop(mark, None)
        if row is None or status == "running":
            row = {"attempt": event.attempt, "item": event.item, "started": started}
            self._add(row)
        row["status"], row["ended"] = status, ended
        failure = getattr(event, "failure", None)
        if failure is not None:
            row["why"] = f"{failure.type}: {failure.message}"[:200]
        if ended is None:
            self._going[mark] = row
        if status == "running" and event.item is None:
            self.now["progress"] = None
        self.now["attempt"] = event.attempt
        self.now["started"] = self.now["started"] or started
        self._output.add(getattr(event, "output", ()))

    def _add(self, row: dict[str, Any]) -> None:
        self.now["attempts"].append(row)
        # Cut now and then and not each time, because a list that is cut is sent whole.
        if len(self.now["attempts"]) >= ATTEMPTS + SLACK:
            del self.now["attempts"][:-ATTEMPTS]

    def _settle(self, event: Any, status: str, time: float) -> None:
        """Take the status; of a mapped step, that of all its items together."""
        if status != "retrying":
            self.now["retry_at"] = None
        if status in ("done", "reused", "running"):
            self.now["error"], self.now["reason"] = (None if status != "running" else self.now["error"]), ""
        if event.item is not None and self.now["items"]:
            status = self._settle_item(event.item, LETTERS[status])
        else:
            if status in OPEN:
                self._open[event.key] = status
            else:
                self._open.pop(event.key, None)
            status = self._among(status)
            if status in ("done", "reused"):
                self.now["progress"] = None
        self.set(status, time)

    def _among(self, status: str) -> str:
        """The status of a step that was called several times at once: what still goes on comes first."""
        return next((other for other in OPEN if other in self._open.values()), status)

    def _settle_item(self, item: int, letter: str) -> str:
        grid, counts = self.now["grid"], self.now["items"]
        for changed, by in ((grid[item : item + 1], -1), (letter, 1)):
            if changed in _COUNTED:
                counts[_COUNTED[changed]] += by
        grid = self.now["grid"] = f"{grid[:item]}{letter}{grid[item + 1 :]}"
        if letter not in "rtw":
            self._parts.pop(item, None)
        self._gather_progress()
        if counts["done"] == counts["total"]:
            return "reused" if "d" not in grid else "done"
        if counts["running"] == 0 and "-" not in grid:
            return "failed" if counts["failed"] else "cancelled"
        if "r" in grid or ("t" not in grid and "w" not in grid):
            return "running"
        return "retrying" if "t" in grid else "waiting"

    def _values(self, event: e.StepCompleted | e.StepReused) -> dict[str, Any]:
        names = self.node.writes if self.node is not None else ()
        if not names and values.is_nothing(event.value):
            return {}
        if len(names) < 2:
            return {names[0] if names else event.step: value_view(event.value)}
        members = values.parts(event.value, len(names))
        if members is None:
            return {", ".join(names): value_view(event.value)}
        return {name: value_view(member) for name, member in zip(names, members, strict=True)}


def value_view(value: Value) -> dict[str, Any]:
    """A value for eyes; loads nothing."""
    shown = {"type": value.type or value.codec, "preview": value.preview, "size": value.size}
    if value.codec == "json" and value.data and len(value.data) <= values.SHOWN:
        plain = values.shown(value)
        return {**shown, "json": plain, "preview": value.preview or msgspec.json.encode(plain).decode()[:400]}
    return {**shown, "preview": value.preview or f"{value.size} bytes of {value.codec}"}


def error_view(failure: Failure) -> dict[str, Any]:
    """A failure for eyes, with the innermost place in a cell."""
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
