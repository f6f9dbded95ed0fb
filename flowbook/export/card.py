"""One node of a graph as SVG: its card with glyph, name, wires, status in words, and a map's grid of items.

``widgets/draw.js`` draws the same card; change both, a test compares them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from flowbook.export.style import GLYPHS, SOLID, face
from flowbook.export.text import duration, escaped, fitted, number

GOING = ("running", "retrying", "queued", "failed")
"""Statuses in which progress is shown."""

LEFT = 40
CELL = 8
LETTERS = (("f", "failed"), ("r", "running"), ("t", "waiting"), ("w", "waiting"), ("c", "idle"))
"""Letters of a grid in the order in which they win when a cell stands for several items."""


def badge(status: str, glyph: str = "") -> str:
    """The disc with its glyph, around (0, 0)."""
    family, usual = face(status)
    glyph = glyph or usual
    dashed = " fb-dashed" if glyph == "skipped" else ""
    extra = '<circle class="fb-ring2" r="12.6"/>' if glyph in ("reused", "lost") else ""
    extra += '<circle class="fb-spin" r="12.8"/>' if status == "running" else ""
    solid = " fb-solid" if glyph in SOLID else ""
    path = f'<path class="fb-glyph{solid}" d="{GLYPHS[glyph]}"/>' if GLYPHS[glyph] else ""
    return f'<g class="fb-badge fb-{family}{dashed}">{extra}<circle class="fb-disc" r="10"/>{path}</g>'


def classes(node: Mapping[str, Any], step: Mapping[str, Any] | None) -> str:
    """Classes of the node's group: its kind and the family of its status."""
    family, state = "idle", ""
    if step is not None:
        family = face(step["status"])[0]
        state = " fb-later" if step["status"] in ("not reached", "queued", "skipped") else " fb-live"
    return f"fb-node fb-k-{node.get('kind', 'step')} fb-{family}{state}"


def label(node: Mapping[str, Any], step: Mapping[str, Any] | None, now: float) -> str:
    """The node in words, for those who do not see it."""
    reads, writes = node.get("reads") or (), node.get("writes") or ()
    parts = [node["id"], said(node, step, now).replace(" · ", ", ")]
    if step is not None and spent(step, now):
        parts.append(spent(step, now))
    if reads:
        parts.append("reads " + ", ".join(reads))
    if writes:
        parts.append("writes " + ", ".join(writes))
    return ", ".join(part for part in parts if part)


def spent(step: Mapping[str, Any], now: float) -> str:
    """How long the step took or has been going on; "" where it has not begun."""
    if step.get("started") is None or step["status"] == "reused":
        return ""
    if step.get("ended") is None and now - step["started"] < 0.01:
        return ""
    end = step["ended"] if step.get("ended") is not None else now
    return duration(end - step["started"])


def said(node: Mapping[str, Any], step: Mapping[str, Any] | None, now: float) -> str:
    """The status in words; without a run, what the annotations say."""
    if step is None:
        return planned(node)
    status, parts = step["status"], [step["status"]]
    items = step.get("items")
    if items:
        parts.append(counted(items, status))
    if step.get("progress") and status in GOING:
        parts.append(advanced(step["progress"], bool(items)))
    if status in ("failed", "retrying") and step.get("error"):
        parts.append(step["error"]["type"])
    if status == "retrying":
        parts.append(f"attempt {step['attempt'] + 1}" + _left(" in ", step.get("retry_at"), now))
    elif status == "waiting":
        parts.append(_left("", step.get("retry_at"), now, " left"))
    elif not items and step["attempt"] > 1:
        parts.append(f"attempt {step['attempt']}")
    if step.get("rounds", 0) > 1:
        parts.append(f"{step['rounds']} rounds")
    parts.append(elsewhere(step))
    return " · ".join(part for part in parts if part)


def counted(items: Mapping[str, int], status: str) -> str:
    """A map's items in words."""
    if status in ("done", "reused"):
        return f"{items['total']} items"
    failed = f", {items['failed']} failed" if items["failed"] else ""
    return f"{items['done']} of {items['total']}{failed}"


def advanced(progress: Mapping[str, Any], mapped: bool = False) -> str:
    """Progress in words; a map's number stands in its count of items."""
    if mapped:
        return str(progress["text"])
    share = f"{math.floor(100 * _share(progress))}%" if progress["total"] else number(progress["done"])
    return f"{share} {progress['text']}".strip()


def elsewhere(step: Mapping[str, Any]) -> str:
    """Who does it, where that is not the run's own worker."""
    where = step.get("where")
    if where == "queue":
        return f"on {step['queue']}"
    if where == "outside":
        return "for an answer" if step["status"] == "waiting" else ""
    return str(step["run"]) if where in ("child", "signal") else ""


def _share(progress: Mapping[str, Any]) -> float:
    return float(min(1, max(0, progress["done"] / progress["total"])))


def _left(before: str, due: float | None, now: float, after: str = "") -> str:
    return "" if due is None or due <= now else f"{before}{duration(due - now)}{after}"


def planned(node: Mapping[str, Any]) -> str:
    """What the annotations say, in a few words."""
    options: Mapping[str, Any] = node.get("options") or {}
    parts = [f"{key} {options[key]}" for key in ("map", "when", "until", "wait") if options.get(key)]
    loop = options.get("loop")
    if isinstance(loop, dict) and loop.get("until"):
        parts.append(f"until {loop['until']}")
    elif options.get("loop.until"):
        parts.append(f"until {options['loop.until']}")
    if options.get("retries"):
        parts.append(f"retries {options['retries']}")
    if options.get("timeout"):
        parts.append(f"timeout {options['timeout']}")
    return " · ".join(parts) or str(node.get("doc") or "").strip().partition("\n")[0]


def glyph_of(node: Mapping[str, Any], step: Mapping[str, Any] | None) -> str:
    """The glyph where the status' own is not the one: waits that have not ended show what they wait for."""
    kind = node.get("kind", "step")
    if kind == "params":
        return "params"
    if step is not None and step.get("where") == "outside" and step["status"] == "waiting":
        return "hand"
    wait = str((node.get("options") or {}).get("wait") or "")
    if not wait or (step is not None and step["status"] not in ("not reached", "waiting")):
        return ""
    if step is not None and step["status"] == "not reached" and kind != "wait":
        return ""
    return "clock" if wait[:1].isdigit() else "hand"


def inner(node: Mapping[str, Any], step: Mapping[str, Any] | None, box: Mapping[str, Any], now: float) -> str:
    """What is inside the node's group, whose origin is the card's top left corner."""
    width, height = box["width"], box["height"]
    if node.get("kind") == "params":
        return _params(node, width, height)
    words = said(node, step, now)
    time = spent(step, now) if step is not None else ""
    kind = node.get("kind", "step")
    where = step.get("where", "") if step is not None else ""
    beside = where if where in ("child", "outside", "signal") else ""
    tag = kind if kind != "step" else beside
    mapped = kind == "map"
    parts = [_card(width, height, 20 if kind == "wait" else 9, mapped)]
    middle = 33 if mapped else height / 2
    parts.append(f'<g transform="translate(22 {number(middle)})">{badge(_status(step), glyph_of(node, step))}</g>')
    room = width - LEFT - 12
    name = fitted(node["id"], room - (7 * len(time) + 8 if time else 0), 7.6)
    parts.append(f'<text class="fb-name" x="{LEFT}" y="24">{escaped(name)}</text>')
    if time:
        parts.append(f'<text class="fb-time" x="{number(width - 12)}" y="23" text-anchor="end">{escaped(time)}</text>')
    wired = wires(node)
    if wired:
        parts.append(f'<text class="fb-wires" x="{LEFT}" y="40">{escaped(fitted(wired, room, 6.0))}</text>')
    if tag and 5.9 * len(words) > room - 6 * len(tag) - 8:
        tag = ""
    fit = fitted(words, room, 5.9)
    parts.append(f'<text class="fb-word" x="{LEFT}" y="{55 if wired else 42}">{escaped(fit)}</text>')
    if tag:
        parts.append(f'<text class="fb-kind" x="{number(width - 12)}" y="55" text-anchor="end">{tag}</text>')
    if mapped:
        parts.append(_grid(step["grid"] if step is not None else "", width))
    if step is not None and step.get("progress") and step["status"] in GOING:
        parts.append(_bar(step["progress"], width, height))
    return "".join(parts)


def _bar(progress: Mapping[str, Any], width: float, height: float) -> str:
    """A bar along the card's lower edge; none where the whole is not known."""
    if not progress["total"]:
        return ""
    room = width - LEFT - 12
    place = f'x="{LEFT}" y="{number(height - 5)}" height="3" rx="1.5"'
    fill = f'<rect class="fb-fill" {place} width="{number(room * _share(progress))}"/>'
    return f'<rect class="fb-track" {place} width="{number(room)}"/>{fill}'


def wires(node: Mapping[str, Any]) -> str:
    """What goes in and out."""
    reads, writes = ", ".join(node.get("reads") or ()), ", ".join(node.get("writes") or ())
    if reads and writes:
        return f"{reads} → {writes}"
    return f"→ {writes}" if writes else reads


def _status(step: Mapping[str, Any] | None) -> str:
    return step["status"] if step is not None else "not reached"


def _card(width: float, height: float, radius: int, mapped: bool) -> str:
    size = f'width="{number(width)}" height="{number(height)}" rx="{radius}"'
    behind = ""
    if mapped:
        behind = "".join(f'<rect class="fb-behind" x="{shift}" y="{shift}" {size}/>' for shift in (6, 3))
    shadow = "" if mapped else f'<rect class="fb-shadow" x="0" y="1.5" {size}/>'
    return f'{behind}{shadow}<rect class="fb-card" {size}/><rect class="fb-tint" {size}/>'


def _params(node: Mapping[str, Any], width: float, height: float) -> str:
    text = fitted(", ".join(node.get("writes") or ()) or node["id"], width - LEFT - 12, 6.9)
    card = _card(width, height, 18, False)
    sign = f'<g transform="translate(20 18)">{badge("not reached", "params")}</g>'
    return f'{card}{sign}<text class="fb-params" x="{LEFT}" y="22">{escaped(text)}</text>'


def _grid(grid: str, width: float) -> str:
    """At most two rows of cells; with more items than cells, each stands for several and shows the worst."""
    columns = int((width - LEFT - 12) // CELL)
    cells = grouped(grid, 2 * columns)
    drawn = []
    for index, family in enumerate(cells):
        x, y = LEFT + index % columns * CELL, 63 + index // columns * CELL
        place = f'x="{x}" y="{y}" width="6" height="6" rx="1.2"'
        drawn.append(f'<rect class="fb-cell fb-{family}" {place}/>')
        if family == "failed":
            drawn.append(f'<path class="fb-mark" d="M{x + 1.5} {y + 1.5}l3 3m0 -3l-3 3"/>')
    return f'<g class="fb-grid">{"".join(drawn)}</g>'


def grouped(grid: str, room: int) -> Sequence[str]:
    """Families of at most ``room`` cells."""
    if not grid:
        return ()
    each = -(-len(grid) // room)
    return [_worst(grid[start : start + each]) for start in range(0, len(grid), each)]


def _worst(letters: str) -> str:
    for letter, family in LETTERS:
        if letter in letters:
            return family
    return "none" if "-" in letters else "done"
