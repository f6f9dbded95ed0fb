"""A run, or a plan, as a piece of HTML that needs neither a kernel nor scripts: the pictures, and the same as tables.

Pictures are embedded as images: they stay when a page is cleaned of styles and scripts, and nothing in them can act.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from flowbook.core.graph import Graph
from flowbook.export import card, dealings, svg, timeline
from flowbook.export.style import GLYPHS, PALETTE, face
from flowbook.export.text import duration, escaped

PRINTED = 8000
"""Characters of what the workflow printed that are shown; the last ones."""

_TABLE = "border-collapse:collapse;font-size:12px;margin:4px 0 8px"
_CELL = "text-align:left;padding:2px 10px 2px 0;vertical-align:top"


def fragment(view: Mapping[str, Any]) -> str:
    """A run's status line, graph, timeline, and all of it once more as tables."""
    parts = [_status_line(view), _graph_image(view.get("graph"), view)]
    if timeline.rows(view):
        parts.append(_image(timeline.render(view), f"Timeline of run {view['id']}"))
    parts.append(_error(view))
    parts += [f"<p>{escaped(words)}</p>" for words in dealings.remarks(view)]
    parts.append(_folded("Steps as a table", _steps(view)))
    if view["waits"]:
        waits = ((w["name"] or w["step"], w["kind"], w.get("token", "")) for w in view["waits"])
        parts.append(_table(("Waits for", "kind", "token"), waits))
    parts += [_table(head, rows) for head, rows in dealings.tables(view)]
    printed = "".join(str(chunk.get("text", "")) for chunk in view.get("output") or ())
    if printed:
        parts.append(_folded("Printed by the workflow", f"<pre>{escaped(printed[-PRINTED:])}</pre>"))
    return f'<div class="flowbook-run">{"".join(parts)}</div>'


def graph_fragment(graph: Graph | Mapping[str, Any], view: Mapping[str, Any] | None = None) -> str:
    """The plan of a workflow, coloured by a run where one is given, and the same as a table."""
    plain: Mapping[str, Any] = msgspec.to_builtins(graph)
    steps = view["steps"] if view is not None else {}
    table = _table(
        ("step", "kind", "reads", "writes", "what it says", *(("status",) if view is not None else ())),
        (
            (
                node["id"],
                node.get("kind", "step"),
                ", ".join(node.get("reads") or ()),
                ", ".join(node.get("writes") or ()),
                card.planned(node),
                *((steps.get(node["id"], {}).get("status", "not reached"),) if view is not None else ()),
            )
            for node in plain.get("nodes") or ()
        ),
    )
    head = _status_line(view) if view is not None else ""
    image = _graph_image(plain, view)
    return f'<div class="flowbook-graph">{head}{image}{_folded("Steps as a table", table)}</div>'


def line(view: Mapping[str, Any]) -> str:
    """The run in one line of text: id, status, progress, time, and what it waits for or what went wrong."""
    done, total = svg.progress(view)
    parts = [f"{view['id']} {view['status']}", f"{done} of {total} steps done", duration(_elapsed(view))]
    error = view.get("error")
    if error:
        parts.append(f"{error['type']}: {_first(error['message'])}")
    parts += dealings.remarks(view)
    for wait in view["waits"]:
        parts.append(f"waits for {_awaited(wait)}")
    return " · ".join(parts)


def graph_line(graph: Graph | Mapping[str, Any]) -> str:
    """A plan in one line of text."""
    nodes = msgspec.to_builtins(graph).get("nodes") or ()
    names = [node["id"] for node in nodes if node.get("kind", "step") not in ("params", "undo")]
    return f"graph of {len(names)} {'step' if len(names) == 1 else 'steps'}: {', '.join(names)}"


def _elapsed(view: Mapping[str, Any]) -> float:
    return float((view["time"] if view["ended"] is None else view["ended"]) - view["started"])


def _awaited(wait: Mapping[str, Any]) -> str:
    named = {"signal": "signal '{}'", "outside": "an answer from outside to '{}'", "child": "its child {}"}
    if wait["kind"] in named:
        return named[wait["kind"]].format(wait["name"])
    return f"{wait['name'] or wait['step'] or 'a time'}"


def _first(text: str) -> str:
    head = text.strip().partition("\n")[0]
    return head if len(head) <= 120 else f"{head[:119]}…"


def _status_line(view: Mapping[str, Any]) -> str:
    done, total = svg.progress(view)
    words = (
        f"{escaped(view['workflow'])} <code>{escaped(view['id'])}</code> · {done} of {total} steps done · "
        f"{duration(_elapsed(view))}"
    )
    origin = view.get("origin")
    if origin:
        words += f" · fork of <code>{escaped(origin['run'])}</code> at event {escaped(origin['seq'])}"
    return f"<p>{_sign(view['status'])} <strong>{escaped(view['status'])}</strong> · {words}</p>"


def _sign(status: str) -> str:
    """The status' disc as an image of its own; the word beside it says the same."""
    family, glyph = face(status)
    colour, ground = PALETTE["light"][family], "#fff"
    path = f'<path d="{GLYPHS[glyph]}" fill="none" stroke="{ground}" stroke-width="1.9"/>' if GLYPHS[glyph] else ""
    drawn = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="-11 -11 22 22">'
        f'<circle r="10" fill="{colour}"/>{path}</svg>'
    )
    return f'<img alt="" style="display:inline;vertical-align:-3px;margin:0" src="{_address(drawn)}"/>'


def _graph_image(graph: Mapping[str, Any] | None, view: Mapping[str, Any] | None) -> str:
    if not graph or not graph.get("nodes"):
        return ""
    return _image(svg.render(graph, view), svg.heading(graph, view))


def _image(picture: str, words: str) -> str:
    return f'<p><img alt="{escaped(words)}" style="max-width:100%" src="{_address(picture)}"/></p>'


def _address(picture: str) -> str:
    return f"data:image/svg+xml;base64,{b64encode(picture.encode()).decode()}"


def _error(view: Mapping[str, Any]) -> str:
    error = view.get("error")
    if not error:
        return ""
    number, at = error.get("number"), error.get("line")
    place = f" (cell {number}, line {at})" if error.get("cell") and number else f" (line {at})" if at else ""
    step = f"step {error['step']}{place}: " if error.get("step") else ""
    return f"<p><strong>{escaped(step)}{escaped(error['type'])}</strong>: {escaped(error['message'])}</p>"


def _steps(view: Mapping[str, Any]) -> str:
    nodes = {node["id"]: node for node in (view.get("graph") or {}).get("nodes") or ()}
    names = [*nodes, *(name for name in view["steps"] if name not in nodes)]
    rows = []
    for name in names:
        step = view["steps"].get(name)
        node = nodes.get(name, {"id": name})
        if step is None or node.get("kind") == "params":
            continue
        values = ", ".join(f"{key} = {value['preview']}" for key, value in step["values"].items())
        words = card.said(node, step, view["time"])
        rows.append((name, words, str(step["attempt"] or ""), card.spent(step, view["time"]), _first(values)))
    return _table(("step", "status", "attempt", "took", "values"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col" style="{_CELL}">{escaped(word)}</th>' for word in head)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escaped(text)}</td>' for text in row) + "</tr>" for row in rows
    )
    return f'<table style="{_TABLE}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def _folded(title: str, inside: str) -> str:
    return f"<details><summary>{escaped(title)}</summary>{inside}</details>"
