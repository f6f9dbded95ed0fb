from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from flowbook.core.graph import Edge, Graph, Layout, Node
from flowbook.core.module import Module, Workflow
from flowbook.export.layout import laid_out, layout, positions
from tests.export.samples import GRAPH

ENGINES = ("dot", "layers")


def wide(count: int) -> Graph:
    nodes = tuple(Node(f"step_{index}") for index in range(count))
    edges = tuple(
        Edge(f"step_{index}", f"step_{later}")
        for index in range(count)
        for later in (index + 3, index + 7)
        if later < count
    )
    return Graph(nodes, edges)


def overlaps(where: Layout) -> list[tuple[str, str]]:
    boxes = sorted(where.boxes.items())
    return [
        (name, other)
        for index, (name, a) in enumerate(boxes)
        for other, b in boxes[index + 1 :]
        if abs(a.x - b.x) < (a.width + b.width) / 2 and abs(a.y - b.y) < (a.height + b.height) / 2
    ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("graph", [GRAPH, wide(30)], ids=["sample", "wide"])
def test_boxes_do_not_overlap_lie_inside_and_needs_point_down(engine: str, graph: Graph) -> None:
    where = positions(graph, engine)
    assert set(where.boxes) == {node.id for node in graph.nodes}
    assert overlaps(where) == []
    for box in where.boxes.values():
        assert box.x - box.width / 2 >= 0 and box.x + box.width / 2 <= where.width
        assert box.y - box.height / 2 >= 0 and box.y + box.height / 2 <= where.height
    for edge in graph.edges:
        assert where.boxes[edge.source].y < where.boxes[edge.target].y
        assert where.paths[f"{edge.source}->{edge.target}"].startswith("M")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_graph_is_drawn_the_same(engine: str) -> None:
    assert positions(GRAPH, engine) == positions(GRAPH, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "graph",
    [
        Graph(),
        Graph((Node("alone"),)),
        Graph((Node("a"),), (Edge("a", "a"),)),
        Graph((Node("a"), Node("b")), (Edge("a", "b"), Edge("b", "a"))),
        Graph((Node("a"),), (Edge("a", "gone"), Edge("gone", "a"))),
        Graph((Node('"; node [label="x"]'), Node("a:b"), Node("<b>"), Node("\\N"))),
    ],
    ids=["empty", "alone", "itself", "circle", "unknown", "hostile"],
)
def test_odd_graphs_get_a_picture(engine: str, graph: Graph) -> None:
    where = positions(graph, engine)
    assert set(where.boxes) == {node.id for node in graph.nodes}
    assert overlaps(where) == []


def test_without_graphviz_the_layers_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    assert positions(GRAPH) == positions(GRAPH, "layers")


def lines_run(graph: Graph) -> int:
    """Lines of Python that it takes to lay the graph out without Graphviz."""
    count = 0

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return line

    before = sys.gettrace()
    sys.settrace(line)
    try:
        positions(graph, "layers")
    finally:
        sys.settrace(before)
    return count


def test_layers_of_twice_as_many_nodes_cost_little_more_than_twice() -> None:
    few, many = lines_run(wide(50)), lines_run(wide(100))
    assert 0 < few < many < 3 * few


def test_a_module_is_laid_out_once() -> None:
    module = Module("d", "m", "", (Workflow("w", GRAPH),))
    made = laid_out(module)
    assert made.workflows[0].graph == layout(GRAPH)
    assert laid_out(made) is made
