"""A graph in Mermaid's language, which GitHub, GitLab and JupyterLab draw in Markdown."""

from __future__ import annotations

from flowbook.core.graph import Graph, Node
from flowbook.export.card import planned

_SHAPES = {
    "params": ('(["', '"])'),
    "step": ('("', '")'),
    "map": ('[["', '"]]'),
    "loop": ('("', '")'),
    "wait": ('{{"', '"}}'),
    "undo": ('("', '")'),
}
_ARROWS = {"data": "-->", "order": "-.->", "undo": "-.->|undo|"}


def render(graph: Graph) -> str:
    """The graph as a flowchart."""
    number = {node.id: f"n{index}" for index, node in enumerate(graph.nodes)}
    lines = ["flowchart TB"]
    for node in graph.nodes:
        before, after = _SHAPES[node.kind]
        lines.append(f"    {number[node.id]}{before}{_label(node)}{after}")
    for edge in graph.edges:
        if edge.source in number and edge.target in number:
            arrow = _ARROWS[edge.kind]
            names = f'|"{_text(", ".join(edge.names))}"|' if edge.names and edge.kind == "data" else ""
            lines.append(f"    {number[edge.source]} {arrow}{names} {number[edge.target]}")
    undos = ",".join(number[node.id] for node in graph.nodes if node.kind == "undo")
    if undos:
        lines += ["    classDef undo stroke-dasharray: 5 3", f"    class {undos} undo"]
    return "\n".join(lines) + "\n"


def _label(node: Node) -> str:
    name = ", ".join(node.writes) if node.kind == "params" and node.writes else node.id
    hint = planned({"options": node.options})
    return _text(name) + (f"<br/><small>{_text(hint)}</small>" if hint else "")


def _text(text: str) -> str:
    """Everything that Mermaid or HTML might read, as its number."""
    return "".join(c if c.isalnum() or c in " _-,.=()" else f"#{ord(c)};" for c in text)
