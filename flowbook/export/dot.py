"""A graph in Graphviz' language: as a ``graphviz.Digraph`` to go on with, or as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbook.core.graph import Graph, Node
from flowbook.export.card import planned
from flowbook.export.style import PALETTE

if TYPE_CHECKING:
    import graphviz

_SHAPES = {"params": "box", "map": "box3d", "wait": "hexagon", "loop": "box", "undo": "box", "step": "box"}
_STYLES = {"data": "solid", "order": "dotted", "undo": "dashed"}


def digraph(graph: Graph, name: str = "workflow") -> graphviz.Digraph:
    """The graph as an object of the ``graphviz`` package, for its own methods and for changes."""
    import graphviz

    made = graphviz.Digraph(name)
    made.attr(rankdir="TB")
    made.attr("node", shape="box", style="rounded", fontname="Helvetica", fontsize="11", color=PALETTE["light"]["idle"])
    made.attr("edge", fontname="Helvetica", fontsize="9", color="#616161")
    for node in graph.nodes:
        style = {"params": "rounded,filled", "undo": "rounded,dashed", "wait": "solid"}.get(node.kind, "rounded")
        made.node(
            _id(node.id), label=_label(node), shape=_SHAPES[node.kind], style=style, fillcolor="#f1f2f4", id=node.id
        )
    for edge in graph.edges:
        names = graphviz.escape(", ".join(edge.names))
        made.edge(_id(edge.source), _id(edge.target), label=names, style=_STYLES[edge.kind])
    return made


def render(graph: Graph, name: str = "workflow") -> str:
    """The graph as DOT text."""
    text: str = digraph(graph, name).source
    return text


def _id(name: str) -> str:
    # A colon would be read as a port of the node.
    return name.replace(":", "_")


def _label(node: Node) -> str:
    import graphviz

    lines = [node.id]
    if node.kind == "params" and node.writes:
        lines = [", ".join(node.writes)]
    hint = planned({"options": node.options})
    escaped: str = graphviz.escape("\n".join([*lines, hint] if hint else lines))
    return escaped.replace("\n", "\\n")
