"""A graph as a picture that stands alone: the plan of a workflow, or the state of a run.

``widgets/draw.js`` draws the same; change both, a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flowbook.core.graph import Graph
from flowbook.export import card
from flowbook.export.layout import layout
from flowbook.export.style import CSS
from flowbook.export.text import escaped, number

PASSED = ("done", "reused")


def render(graph: Graph | Mapping[str, Any], view: Mapping[str, Any] | None = None, css: bool = True) -> str:
    """The graph, coloured by a run's view where one is given. Without ``css`` it counts on its surroundings."""
    drawn = _plain(graph)
    where = drawn["layout"]
    steps: Mapping[str, Any] = view["steps"] if view is not None else {}
    now = view["time"] if view is not None else 0.0
    width, height = number(max(where["width"], 40)), number(max(where["height"], 40))
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="fb-picture fb-graph" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="group" aria-label="{escaped(heading(drawn, view))}">'
        ),
        f"<title>{escaped(heading(drawn, view))}</title>",
        f"<style>{CSS}</style>" if css else "",
        '<rect class="fb-ground" width="100%" height="100%"/>',
        *(_edge(edge, where, steps) for edge in drawn["edges"]),
        *(_node(node, steps.get(node["id"]) if view is not None else None, where, now) for node in drawn["nodes"]),
        "</svg>",
    ]
    return "".join(parts)


def heading(graph: Mapping[str, Any], view: Mapping[str, Any] | None) -> str:
    """The picture in one line."""
    nodes = graph.get("nodes") or ()
    if view is None:
        return f"Graph of {len(nodes)} steps"
    done, total = progress(view)
    return f"Run {view['id']} of {view['workflow']}: {view['status']}, {done} of {total} steps done"


def progress(view: Mapping[str, Any]) -> tuple[int, int]:
    """Steps that are over and steps in all; parameters, undos and what stands below the graph do not count."""
    nodes = (view.get("graph") or {}).get("nodes") or ()
    names = [n["id"] for n in nodes if _counts(n)] or list(view["steps"])
    over = sum(view["steps"].get(name, {}).get("status") in ("done", "reused", "skipped") for name in names)
    return over, len(names)


def _counts(node: Mapping[str, Any]) -> bool:
    return node.get("kind", "step") not in ("params", "undo") and not (node.get("options") or {}).get("added")


def _plain(graph: Graph | Mapping[str, Any]) -> dict[str, Any]:
    value = graph if isinstance(graph, Graph) else msgspec.convert(graph, Graph)
    plain: dict[str, Any] = msgspec.to_builtins(value if value.layout is not None else layout(value))
    return {"nodes": (), "edges": (), **plain}


def _edge(edge: Mapping[str, Any], where: Mapping[str, Any], steps: Mapping[str, Any]) -> str:
    path = where.get("paths", {}).get(f"{edge['source']}->{edge['target']}")
    if not path:
        return ""
    kind = edge.get("kind", "data")
    passed = steps.get(edge["source"], {}).get("status") in PASSED and kind != "undo"
    names = ", ".join(edge.get("names") or ())
    title = f"{edge['source']} to {edge['target']}" + (f": {names}" if names else "")
    return (
        f'<path class="fb-edge fb-{kind}{" fb-passed" if passed else ""}" d="{escaped(path)}">'
        f"<title>{escaped(title)}</title></path>"
    )


def _node(node: Mapping[str, Any], step: Mapping[str, Any] | None, where: Mapping[str, Any], now: float) -> str:
    box = where["boxes"].get(node["id"])
    if box is None:
        return ""
    x, y = number(box["x"] - box["width"] / 2), number(box["y"] - box["height"] / 2)
    words = escaped(card.label(node, step, now))
    return (
        f'<g class="{card.classes(node, step)}" data-step="{escaped(node["id"])}" transform="translate({x} {y})" '
        f'role="img" aria-label="{words}"><title>{words}</title>{card.inner(node, step, box, now)}</g>'
    )
