"""A view as lines of text: the step list of ``run``, ``watch`` and ``show``. Pure: view and time in, lines out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flowbook.core.duration import spoken
from flowbook.core.printable import printable
from flowbook.export.card import GOING, advanced, elsewhere
from flowbook.export.dealings import remarks
from flowbook.export.style import face

GLYPHS = {
    "not reached": "○",
    "queued": "◔",
    "running": "▶",
    "retrying": "↻",
    "waiting": "⏲",
    "done": "✓",
    "reused": "✓",
    "failed": "✕",
    "lost": "?",
    "cancelled": "■",
    "terminated": "■",
    "continued": "⇢",
    "skipped": "⊘",
    "paused": "‖",
    "succeeded": "✓",
}
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
OVER = ("done", "reused", "failed", "cancelled", "skipped")
COLOURS = {"running": "34", "waiting": "33", "done": "32", "failed": "31", "idle": "2"}
"""ANSI colours of the five families of ``export.style``."""


def painted(text: str, status: str, colour: bool) -> str:
    """``text`` in the colour of ``status``."""
    return f"\x1b[{COLOURS[face(status)[0]]}m{text}\x1b[0m" if colour else text


def lines(
    view: dict[str, Any], now: float, *, width: int = 100, height: int = 0, colour: bool = False, frame: int = -1
) -> list[str]:
    """Head line and one line for every step. ``frame`` counts pictures, for what moves; -1 is a still."""
    names = shown_names(view)
    rows = [(name, view["steps"].get(name, {"status": "not reached"})) for name in names]
    label = min(max((len(name) for name in names), default=4), 32)
    body = [_line(name, step, view, now, label, width, colour, frame) for name, step in rows]
    tail = _tail(view)
    if height and len(body) > height - len(tail):
        body = _folded(rows, body, max(2, height - len(tail)))
    return [_head(view, now, colour), *body, *tail]


PRINTED = 5
"""Lines of what the workflow's own code has printed that are shown; the last ones."""


def _tail(view: dict[str, Any]) -> list[str]:
    """Lines below the steps: what the code printed, what else is to be said, and how a step outside is finished."""
    waits = [wait for wait in view.get("waits", ()) if wait["kind"] == "outside"]
    tokens = [f"  {wait['name']}: flowbook complete {wait['token']} VALUE" for wait in waits]
    told = [f"  │ {printable(line)}" for line in printed(view)[-PRINTED:]]
    return [*told, *(f"  {printable(words)}" for words in remarks(view)), *tokens]


def printed(view: dict[str, Any]) -> list[str]:
    """Lines that the workflow's own code has printed."""
    return "".join(str(chunk.get("text", "")) for chunk in view.get("output", ())).splitlines()


def shown_names(view: dict[str, Any]) -> list[str]:
    """Steps in page order; an undo that was not needed is left out."""
    nodes = (view.get("graph") or {}).get("nodes", ())
    listed = [n["id"] for n in nodes if n.get("kind", "step") not in ("params", "undo") or _reached(view, n["id"])]
    rest = [name for name in view["steps"] if name not in listed and _reached(view, name)]
    return [name for name in listed if name != "params"] + rest


def _reached(view: dict[str, Any], name: str) -> bool:
    step = view["steps"].get(name)
    return step is not None and step["status"] != "not reached"


def _head(view: dict[str, Any], now: float, colour: bool) -> str:
    status = view["status"]
    length = spoken(max(0.0, (view.get("ended") or now) - (view.get("started") or now)))
    word = f"{GLYPHS.get(status, '')} {status}".strip()
    return f"{printable(view['workflow'])}  {painted(word, status, colour)}  {length}"


def _line(
    name: str, step: dict[str, Any], view: dict[str, Any], now: float, label: int, width: int, colour: bool, frame: int
) -> str:
    status = step["status"]
    glyph = SPINNER[frame % len(SPINNER)] if status == "running" and frame >= 0 else GLYPHS.get(status, "·")
    rest = "  ".join(part for part in (_length(step, now), about(name, step, view, now)) if part)
    room = max(10, width - label - 20)
    rest = rest if len(rest) <= room else rest[: room - 1] + "…"
    word = painted(status.ljust(11) if rest.strip() else status, status, colour)
    return f"  {painted(glyph, status, colour)} {name[:label].ljust(label)}  {word}  {rest}".rstrip()


def _length(step: dict[str, Any], now: float) -> str:
    started = step.get("started")
    if not started or step["status"] in ("reused", "skipped", "not reached", "queued"):
        return "".ljust(6)
    return spoken(max(0.0, (step.get("ended") or now) - started)).ljust(6)


def about(name: str, step: dict[str, Any], view: dict[str, Any], now: float) -> str:
    """Items, attempts, countdowns and errors of a step, as far as there are any."""
    parts = []
    items = step.get("items")
    if items:
        parts.append(
            f"{items['done']} of {items['total']}" + (f", {items['failed']} failed" if items["failed"] else "")
        )
    elif (step.get("attempt") or 0) > 1:
        parts.append(f"attempt {step['attempt']}")
    if step.get("progress") and step["status"] in GOING:
        parts.append(advanced(step["progress"], bool(items)))
    if step.get("where") in ("queue", "child"):
        parts.append(elsewhere(step))
    if step["status"] == "retrying" and step.get("retry_at"):
        parts.append(f"again in {spoken(max(0.0, step['retry_at'] - now))}")
    waits = [wait for wait in view.get("waits", ()) if wait.get("step") == name and wait["kind"] != "child"]
    parts += [_waiting(wait, now) for wait in waits]
    error = step.get("error")
    if error and step["status"] in ("retrying", "failed"):
        parts.append(f"{error['type']}: {' '.join(str(error['message']).split())}")
    elif step.get("reason"):
        parts.append(str(step["reason"]))
    return printable(" · ".join(part for part in parts if part))


def _waiting(wait: dict[str, Any], now: float) -> str:
    left = f", {spoken(max(0.0, wait['due'] - now))} left" if wait.get("due") else ""
    kinds = {"signal": f"for signal '{wait['name']}'", "outside": "for an answer from outside"}
    return kinds.get(wait["kind"], "timer") + left


def _folded(rows: Iterable[tuple[str, dict[str, Any]]], body: list[str], height: int) -> list[str]:
    """Only what goes on, and counts of the rest, where the terminal is too low for all."""
    kept, counts = [], dict.fromkeys(("over", "not reached"), 0)
    for (_, step), line in zip(rows, body, strict=True):
        if step["status"] in OVER and step["status"] != "failed":
            counts["over"] += 1
        elif step["status"] == "not reached":
            counts["not reached"] += 1
        else:
            kept.append(line)
    more = f", {len(kept) - height + 1} more going on" if len(kept) >= height else ""
    return [f"  … {counts['over']} over, {counts['not reached']} not reached{more}", *kept[: height - 1]]


class Log:
    """What happens, a line each; for logs and pipes, where nothing can be drawn in place.

    Of a loop its beginning, its troubles and its end are told, and not its rounds: a round that is done counts as the
    end only when the next view still says so.
    """

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, int]] = {}
        self._printed = 0
        self._ending: set[str] = set()

    def lines(self, view: dict[str, Any], now: float) -> list[str]:
        """What is new since the last view."""
        loops = {n["id"] for n in (view.get("graph") or {}).get("nodes", ()) if n.get("kind") == "loop"}
        said = []
        for name in shown_names(view):
            step = view["steps"].get(name, {"status": "not reached"})
            mark = (step["status"], step.get("attempt") or 1)
            if step["status"] in ("not reached", "queued") or self._told.get(name) == mark:
                continue
            if name in loops and self._is_round(name, step["status"], view["status"]):
                continue
            self._told[name] = mark
            said.append(_log_line(name, step, view, now))
        lines = printed(view)
        said += [f"  │ {line}" for line in lines[self._printed :]]
        self._printed = len(lines)
        return said

    def _is_round(self, name: str, status: str, run: str) -> bool:
        going = ("running", "waiting")
        if status == "done" and name not in self._ending and run in going:
            self._ending.add(name)
            return True
        if status != "done":
            self._ending.discard(name)
        return status in going and self._told.get(name, ("", 0))[0] in going


def _log_line(name: str, step: dict[str, Any], view: dict[str, Any], now: float) -> str:
    rest = "  ".join(part for part in (_length(step, now).strip(), about(name, step, view, now)) if part)
    return f"  {GLYPHS.get(step['status'], '·')} {name}  {step['status']}  {rest}".rstrip()
