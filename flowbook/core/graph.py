"""The step graph as a value: what the compiler makes, the store keeps and the views draw.

Algorithms over it that need networkx live in ``compiler``; positions are made in ``export.layout``.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

NodeKind = Literal["params", "step", "map", "loop", "wait", "undo"]
EdgeKind = Literal["data", "order", "undo"]


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of the workflow.

    ``cell`` is the notebook cell's id ("" for hand-written code), ``cell_number`` its place on the page from 1,
    ``line`` the first line of its code in the module. ``options`` holds the annotation as written, for display
    (``{"retries": 5, "map": "orders as order"}``).
    """

    id: str
    kind: NodeKind = "step"
    cell: str = ""
    cell_number: int = 0
    line: int = 0
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    doc: str = ""


class Edge(msgspec.Struct, frozen=True, omit_defaults=True):
    """``target`` needs ``source``; ``names`` are the variables that cross a data edge."""

    source: str
    target: str
    names: tuple[str, ...] = ()
    kind: EdgeKind = "data"


class Box(msgspec.Struct, frozen=True):
    """Where a node is drawn: centre and size in pixels, origin top left."""

    x: float
    y: float
    width: float
    height: float


class Layout(msgspec.Struct, frozen=True, omit_defaults=True):
    """Positions for one graph version. ``paths`` maps ``"source->target"`` to an SVG path."""

    width: float
    height: float
    boxes: dict[str, Box]
    paths: dict[str, str] = {}


class Graph(msgspec.Struct, frozen=True, omit_defaults=True):
    """Nodes in page order and the edges between them."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    layout: Layout | None = None

    def node(self, id: str) -> Node | None:
        """The node with this id, or None."""
        return next((node for node in self.nodes if node.id == id), None)
