"""Nodes for what a run does that its graph does not know: steps called by hand, children, answers from outside.

They stand in rows below the graph, in the order in which they came, so that no node ever moves.
"""

from __future__ import annotations

from typing import Any

LIMIT = 48
"""Nodes added; a run that does more shows the rest in its timeline and table."""

WIDTH, HEIGHT, MAP_HEIGHT = 236.0, 66.0, 84.0
PITCH, GAP, MARGIN, APART = 96.0, 26.0, 14.0, 20.0
COLUMNS = 3


class ExtraNodes:
    """A graph (plain data) and what is added to it."""

    def __init__(self, graph: dict[str, Any]) -> None:
        self.graph = {**graph, "nodes": list(graph.get("nodes") or ()), "edges": list(graph.get("edges") or ())}
        self._count = 0
        layout = graph.get("layout")
        bare = not self.graph["nodes"]
        if layout is None and bare:
            layout = {"width": 0.0, "height": 0.0, "boxes": {}, "paths": {}}
        self._tall = float(layout["height"]) if layout is not None else 0.0
        self._wide = max(float(layout["width"]) if layout is not None else 0.0, 2 * MARGIN)
        if layout is not None:
            self.graph["layout"] = layout

    def add(self, name: str, kind: str) -> None:
        """One more node; ``kind`` as in ``core.graph``."""
        if self._count >= LIMIT:
            return
        node = {"id": name, "kind": kind, "options": {"added": True}}
        self.graph = {**self.graph, "nodes": [*self.graph["nodes"], node]}
        layout = self.graph.get("layout")
        if layout is not None:
            self.graph["layout"] = self._placed(layout, name, MAP_HEIGHT if kind == "map" else HEIGHT)
        self._count += 1

    def _placed(self, layout: dict[str, Any], name: str, height: float) -> dict[str, Any]:
        columns = max(COLUMNS, int((self._wide - 2 * MARGIN + GAP) // (WIDTH + GAP)))
        column, row = self._count % columns, self._count // columns
        x = MARGIN + column * (WIDTH + GAP)
        top = (self._tall + APART if self._tall > MARGIN else MARGIN) + row * PITCH
        box = {"x": x + WIDTH / 2, "y": top + height / 2, "width": WIDTH, "height": height}
        return {
            **layout,
            "width": max(float(layout["width"]), x + WIDTH + MARGIN),
            "height": top + MAP_HEIGHT + MARGIN,
            "boxes": {**layout["boxes"], name: box},
        }
