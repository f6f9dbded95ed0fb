"""When each step ran, as a picture: a row for every step in page order, a bar for every attempt, waits hatched.

``widgets/draw.js`` draws the same; change both, a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from flowbook.export.card import GOING, advanced, badge, elsewhere, glyph_of, spent
from flowbook.export.clockface import Scale
from flowbook.export.style import CSS, face
from flowbook.export.text import clock, duration, escaped, fitted, number

ROW = 30
TOP = 30
LABELS = 164
WORDS = 180
LANES = 5
LETTER = 5.9

Times = tuple[float, float]


def render(view: Mapping[str, Any], width: int = 820, css: bool = True) -> str:
    """The timeline of a run's view, ``width`` pixels wide."""
    names = rows(view)
    now = view["ended"] if view["ended"] is not None else view["time"]
    height = TOP + ROW * max(1, len(names)) + 12
    title = escaped(f"Timeline of run {view['id']}: {view['status']} after {duration(now - view['started'])}")
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="fb-picture fb-timeline" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="group" aria-label="{title}"><title>{title}</title>'
        ),
        f"<style>{CSS}</style>" if css else "",
        '<rect class="fb-ground" width="100%" height="100%"/>',
    ]
    if not names:
        return "".join([*parts, f'<text class="fb-note" x="12" y="{TOP}">No step has begun.</text></svg>'])
    nodes = {node["id"]: node for node in (view.get("graph") or {}).get("nodes") or ()}
    scale = Scale(_busy(view, names, now), LABELS, width - LABELS - WORDS)
    parts += _axis(scale, height, width)
    for index, name in enumerate(names):
        glyph = glyph_of(nodes.get(name, {}), view["steps"][name])
        parts.append(_row(name, view["steps"][name], glyph, scale, TOP + index * ROW, now, width))
    parts += _breaks(scale, height)
    for index, name in enumerate(names):
        parts.append(_beside(view["steps"][name], scale, TOP + ROW / 2 + index * ROW, now, width))
    if view["ended"] is None:
        x = number(scale.x(now))
        parts.append(f'<line class="fb-nowline" x1="{x}" x2="{x}" y1="{TOP - 6}" y2="{height - 10}"/>')
    return "".join([*parts, "</svg>"])


def rows(view: Mapping[str, Any]) -> Sequence[str]:
    """Steps that have something to show, in page order, then those the graph does not know."""
    steps = view["steps"]
    nodes = (view.get("graph") or {}).get("nodes") or ()
    known = [node["id"] for node in nodes if node.get("kind") != "params"]
    unknown = [name for name in steps if name not in {node["id"] for node in nodes}]
    return [name for name in [*known, *unknown] if name in steps and _begun(steps[name])]


def pauses(step: Mapping[str, Any], now: float) -> list[Times]:
    """When the step waited: between attempts, between the rounds of a loop, for a signal or a time."""
    found = [(start, now if end is None else end) for start, end in step.get("pauses") or ()]
    attempts = [a for a in step["attempts"] if a["item"] is None]
    for before, after in pairwise(attempts):
        if after["attempt"] > before["attempt"] and before["ended"] is not None:
            found.append((before["ended"], after["started"]))
    if step["status"] == "retrying" and attempts and attempts[-1]["ended"] is not None:
        found.append((attempts[-1]["ended"], now))
    return [(start, end) for start, end in found if end > start]


def _begun(step: Mapping[str, Any]) -> bool:
    return bool(step["attempts"] or step.get("pauses") or step["status"] in ("reused", "skipped"))


def _busy(view: Mapping[str, Any], names: Sequence[str], now: float) -> list[Times]:
    busy = [(view["started"], view["started"])]
    for name in names:
        for attempt in view["steps"][name]["attempts"]:
            busy.append((attempt["started"], _end(attempt, now)))
    return [*busy, (now, now)]


def _end(attempt: Mapping[str, Any], now: float) -> float:
    end = now if attempt["ended"] is None else attempt["ended"]
    return float(max(end, attempt["started"]))


def _axis(scale: Scale, height: int, width: int) -> list[str]:
    parts = []
    for x, seconds in scale.ticks():
        at = number(x)
        parts.append(f'<line class="fb-gridline" x1="{at}" x2="{at}" y1="{TOP - 8}" y2="{height - 10}"/>')
        if x + 40 < width:
            parts.append(f'<text class="fb-tick" x="{number(x + 3)}" y="{TOP - 14}">{clock(seconds)}</text>')
    return parts


def _breaks(scale: Scale, height: int) -> list[str]:
    parts = []
    for piece in scale.pieces:
        if piece.cut:
            left, wide = number(piece.left + 4), number(piece.right - piece.left - 8)
            tall = height - TOP + 18
            middle = number((piece.left + piece.right) / 2)
            text = f"// {duration(piece.end - piece.start)}"
            parts.append(f'<rect class="fb-break" x="{left}" y="{TOP - 26}" width="{wide}" height="{tall}"/>')
            for x in (left, number(piece.right - 4)):
                parts.append(f'<line class="fb-breakline" x1="{x}" x2="{x}" y1="{TOP - 8}" y2="{height - 10}"/>')
            parts.append(
                f'<text class="fb-note" transform="translate({middle} {number((TOP + height - 18) / 2)}) rotate(-90)" '
                f'text-anchor="middle" dy="4">{escaped(text)}</text>'
            )
    return parts


def _row(name: str, step: Mapping[str, Any], glyph: str, scale: Scale, top: int, now: float, width: int) -> str:
    middle = top + ROW / 2
    parts = [
        f'<g class="fb-row" data-step="{escaped(name)}">',
        f'<line class="fb-rowline" x1="8" x2="{width - 8}" y1="{top + ROW}" y2="{top + ROW}"/>',
        f'<g transform="translate(20 {number(middle)}) scale(0.72)">{badge(step["status"], glyph)}</g>',
        f'<text class="fb-name" x="36" y="{number(middle + 4)}">{escaped(fitted(name, LABELS - 44, 8))}</text>',
    ]
    for start, end in pauses(step, now):
        left, right = scale.x(start), scale.x(end)
        if right - left >= 1:
            y = number(middle)
            parts.append(
                f'<line class="fb-hatch" x1="{number(left)}" x2="{number(right)}" y1="{y}" y2="{y}" stroke-width="8">'
                f"<title>{escaped(f'{name} waits {duration(end - start)}')}</title></line>"
            )
    draw = _lanes if step["items"] else _bars
    return "".join([*parts, draw(name, step, scale, top, now), "</g>"])


def _bars(name: str, step: Mapping[str, Any], scale: Scale, top: int, now: float) -> str:
    parts = []
    attempts = step["attempts"]
    for index, attempt in enumerate(attempts):
        left, right = scale.x(attempt["started"]), scale.x(_end(attempt, now))
        family = face(attempt["status"])[0]
        title = escaped(f"{name}, {_attempt_words(attempt, now)}")
        again = " fb-again" if index + 1 < len(attempts) and family == "failed" else ""
        parts.append(
            f'<rect class="fb-bar fb-{family}{again}" x="{number(left)}" y="{top + 8}" '
            f'width="{number(max(right - left, 3))}" height="14" rx="3"><title>{title}</title></rect>'
        )
    return "".join(parts)


def _lanes(name: str, step: Mapping[str, Any], scale: Scale, top: int, now: float) -> str:
    """Items side by side in a few thin lanes."""
    parts, ends = [], [-1.0] * LANES
    for index, attempt in enumerate(step["attempts"]):
        left, right = scale.x(attempt["started"]), scale.x(_end(attempt, now))
        right = max(right, left + 1.5)
        lane = next((n for n, end in enumerate(ends) if end <= left), index % LANES)
        ends[lane] = right
        family = face(attempt["status"])[0]
        title = escaped(f"{name}, item {attempt['item']}, {_attempt_words(attempt, now)}")
        parts.append(
            f'<rect class="fb-bar fb-{family}" x="{number(left)}" y="{number(top + 4 + lane * 4.5)}" '
            f'width="{number(right - left)}" height="3.5" rx="1"><title>{title}</title></rect>'
        )
    return "".join(parts)


def _attempt_words(attempt: Mapping[str, Any], now: float) -> str:
    which = f"attempt {attempt['attempt']}, " if attempt["attempt"] > 1 else ""
    more = "".join(f", {attempt[key]}" for key in ("run", "why") if attempt.get(key))
    return f"{which}{attempt['status']}, {duration(_end(attempt, now) - attempt['started'])}{more}"


def _row_words(step: Mapping[str, Any], now: float) -> str:
    words = [step["status"]]
    if step["items"]:
        words.append(f"{step['items']['done']} of {step['items']['total']}")
    elif step.get("rounds", 0) > 1:
        words.append(f"{step['rounds']} rounds")
    elif step["attempt"] > 1:
        words.append(f"attempt {step['attempt']}")
    if step.get("progress") and step["status"] in GOING:
        words.append(advanced(step["progress"], bool(step["items"])))
    if step["status"] != "skipped":
        words.append(spent(step, now))
    if step.get("where") == "queue":
        words.append(elsewhere(step))
    return " · ".join(word for word in words if word)


def _beside(step: Mapping[str, Any], scale: Scale, middle: float, now: float, width: int) -> str:
    """The words where there is room: behind the last bar, else before the first one, else over the bars."""
    times = [(a["started"], _end(a, now)) for a in step["attempts"]] + pauses(step, now)
    start = step["started"] if step["started"] is not None else scale.pieces[0].start
    first = scale.x(min((time[0] for time in times), default=start))
    last = scale.x(max((time[1] for time in times), default=start))
    text = _row_words(step, now)
    room = len(text) * LETTER
    if last + 14 + room <= width:
        return _words(text, last + 7, middle, "start")
    if first - 8 - room >= LABELS:
        return _words(text, first - 7, middle, "end")
    return _words(text, width - 12, middle, "end")


def _words(text: str, x: float, middle: float, anchor: str) -> str:
    place = f'x="{number(x)}" y="{number(middle + 4)}" text-anchor="{anchor}"'
    return f'<text class="fb-barword" {place}>{escaped(text)}</text>'
