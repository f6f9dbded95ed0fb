"""Where the nodes of a graph are drawn: Graphviz' ``dot`` inside this process, or layers of our own where it fails.

Made once for a version of a graph; what happens in a run never moves a node.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flowbook.core.graph import Box, Graph, Layout, Node
from flowbook.core.module import Module
from flowbook.export import layers

MARGIN = 14.0
RANKS = 46.0
NODES = 26.0
ARROW = "l-4 -6.5m4 6.5l4 -6.5"
"""The open head of an edge, drawn where it ends; edges come from above."""


def layout(graph: Graph) -> Graph:
    """The graph with positions."""
    return msgspec.structs.replace(graph, layout=positions(graph))


def laid_out(module: Module) -> Module:
    """The module with positions in all its graphs; what has some keeps them."""
    if all(workflow.graph.layout is not None for workflow in module.workflows):
        return module
    workflows = tuple(
        w if w.graph.layout is not None else msgspec.structs.replace(w, graph=layout(w.graph)) for w in module.workflows
    )
    return msgspec.structs.replace(module, workflows=workflows)


def positions(graph: Graph, engine: str = "dot") -> Layout:
    """Top to bottom. ``engine`` "layers" leaves Graphviz out."""
    if not graph.nodes:
        return Layout(0.0, 0.0, {})
    sizes = {node.id: size(node) for node in graph.nodes}
    if engine == "dot":
        try:
            return _dot(graph, sizes)
        except Exception:
            # A missing library, or a graph that Graphviz refuses: a plainer picture is better than none.
            return layers.positions(graph, sizes)
    return layers.positions(graph, sizes)


def size(node: Node) -> tuple[float, float]:
    """Width and height of a node's card, from what is written on it."""
    if node.kind == "params":
        wide = 8.0 * len(", ".join(node.writes) or node.id) * 0.86 + 58
        return min(300.0, max(120.0, round(wide))), 36.0
    wires = len(", ".join(node.reads)) + len(", ".join(node.writes)) + 3
    wide = max(7.9 * len(node.id) + 112, 6.3 * wires + 62)
    return min(290.0, max(236.0 if node.kind == "map" else 204.0, round(wide))), 84.0 if node.kind == "map" else 66.0


def _dot(graph: Graph, sizes: dict[str, tuple[float, float]]) -> Layout:
    import pygraphviz

    drawn = pygraphviz.AGraph(directed=True, strict=True)
    drawn.graph_attr.update(rankdir="TB", ranksep=str(RANKS / 72), nodesep=str(NODES / 72), splines="true", pad="0")
    drawn.node_attr.update(shape="box", fixedsize="true", label="")
    drawn.edge_attr.update(arrowhead="none")
    # Names of the notebook never reach Graphviz: numbers need no quoting.
    number = {node.id: str(index) for index, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        width, height = sizes[node.id]
        drawn.add_node(number[node.id], width=f"{width / 72:.4f}", height=f"{height / 72:.4f}")
    pairs = _pairs(graph, number)
    for (source, target), undo in pairs.items():
        drawn.add_edge(number[source], number[target], weight="1" if undo else "4")
    drawn.layout(prog="dot")
    bounds = [float(part) for part in drawn.graph_attr["bb"].split(",")]
    tall = bounds[3]
    boxes = {}
    for node in graph.nodes:
        x, y = (float(part) for part in drawn.get_node(number[node.id]).attr["pos"].split(","))
        boxes[node.id] = Box(_round(x + MARGIN), _round(tall - y + MARGIN), *sizes[node.id])
    paths = {
        f"{source}->{target}": _path(drawn.get_edge(number[source], number[target]).attr["pos"], tall)
        for source, target in pairs
    }
    return Layout(_round(bounds[2] + 2 * MARGIN), _round(tall + 2 * MARGIN), boxes, paths)


def _pairs(graph: Graph, known: dict[str, Any]) -> dict[tuple[str, str], bool]:
    """One edge for each pair of different nodes, and whether it is only an undo."""
    pairs: dict[tuple[str, str], bool] = {}
    for edge in graph.edges:
        if edge.source in known and edge.target in known and edge.source != edge.target:
            pair = edge.source, edge.target
            pairs[pair] = pairs.get(pair, True) and edge.kind == "undo"
    return pairs


def _path(spline: str, tall: float) -> str:
    points = [point.split(",") for point in spline.split() if point[0] not in "es"]
    places = [f"{_round(float(x) + MARGIN):g} {_round(tall - float(y) + MARGIN):g}" for x, y in points]
    return f"M{places[0]}C{' '.join(places[1:])}{ARROW}"


def _round(value: float) -> float:
    return round(value, 1)
