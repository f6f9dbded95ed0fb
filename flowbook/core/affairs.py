"""What a run has to do with others, for eyes: children, signals it sends, updates it gets, what it owes outside.

Part of the view in ``core.view``; each is a list of plain dicts, oldest first, of which the last are kept.
"""

from __future__ import annotations

from typing import Any

from flowbook.core import events as e
from flowbook.core.failure import Failure
from flowbook.core.stepview import value_view

KEPT = 100
"""Finished entries kept of each list; open ones all are."""

_LEFT = {"cancel": "cancelled", "terminate": "terminated", "abandon": "abandoned"}
_ENDED = {"RunCancelled": "cancelled", "RunTerminated": "terminated"}

Entry = dict[str, Any]


class Affairs:
    """The four lists under construction. An entry has ``status``, ``since``, ``ended`` and ``error`` ("" for none)."""

    def __init__(self) -> None:
        self.now: dict[str, list[Entry]] = {"children": [], "sent": [], "updates": [], "obligations": []}
        self._open: dict[str, tuple[str, int]] = {}
        self._gone = dict.fromkeys(self.now, 0)

    def apply(self, event: e.AnyEvent, time: float) -> None:
        """Take in an event; most say nothing here."""
        match event:
            case e.ChildStarted():
                child = {"run": event.run, "workflow": event.step, "name": event.name, "close": event.close}
                self._begin("children", event.key, "running", time, child)
            case e.SignalSent():
                self._begin("sent", event.key, "sending", time, {"run": event.run, "name": event.name})
            case e.UpdateReceived():
                self._begin("updates", f"update {event.id}", "received", time, {"id": event.id, "name": event.name})
            case e.UpdateCompleted():
                self._end(f"update {event.id}", "completed", time, value=value_view(event.value))
            case e.UpdateFailed():
                status = "rejected" if event.rejected else "failed"
                self._end(f"update {event.id}", status, time, error=said(event.failure))
            case e.ObligationOpened():
                undo = event.undo.name if event.undo is not None else ""
                owed = {"key": event.key, "name": event.name, "what": event.what, "undo": undo}
                self._begin("obligations", event.key, "open", time, owed)
            case e.ObligationSettled():
                self._end(event.key, event.outcome, time)
            case e.ObligationRetried():
                self._change(event.key, status="retrying", trying=event.run)
            case e.ObligationFailed():
                self._change(event.key, status="failed", error=said(event.failure))
            case e.StepCompleted() | e.StepReused():
                self._end(event.key, "", time)
            case e.StepFailed():
                self._end(event.key, _ENDED.get(event.failure.type, "failed"), time, error=said(event.failure))
            case e.StepCancelled():
                self._end(event.key, "cancelled", time)

    def close(self, time: float, goes_on: bool = False) -> None:
        """The run has ended. What it owes stays; children go their way as was agreed when they were started.

        Where it ``goes_on`` as another, they are that one's.
        """
        for key, (what, number) in list(self._open.items()):
            close = self.now[what][number - self._gone[what]].get("close", "")
            if what == "children" and goes_on and close != "abandon":
                self._end(key, "continued", time)
            elif what != "obligations":
                self._end(key, _LEFT.get(close, "cancelled"), time)

    def shown(self) -> dict[str, list[Entry]]:
        """The lists as they are now; entries are never changed in place."""
        return {what: list(entries) for what, entries in self.now.items()}

    def _begin(self, what: str, key: str, status: str, time: float, entry: Entry) -> None:
        if key in self._open:
            return
        entries = self.now[what]
        self._open[key] = what, len(entries) + self._gone[what]
        entries.append({**entry, "status": status, "since": time, "ended": None, "error": ""})
        while len(entries) > KEPT and entries[0]["ended"] is not None:
            entries.pop(0)
            self._gone[what] += 1

    def _end(self, key: str, status: str, time: float, **more: Any) -> None:
        what, _ = self._open.get(key, ("", 0))
        status = status or {"children": "succeeded", "sent": "sent"}.get(what, "completed")
        self._change(key, status=status, ended=time, **more)
        self._open.pop(key, None)

    def _change(self, key: str, **more: Any) -> None:
        if key in self._open:
            what, number = self._open[key]
            index = number - self._gone[what]
            self.now[what][index] = {**self.now[what][index], **more}


def said(failure: Failure) -> str:
    """A failure in one line of at most some 200 characters."""
    lines = failure.message.strip().splitlines()
    text = f"{failure.type}: {lines[0]}" if lines else failure.type
    return text if len(text) <= 200 else f"{text[:199]}…"
