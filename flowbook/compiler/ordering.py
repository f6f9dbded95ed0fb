"""The order in which the workflow starts its steps: that of the page, except where ``needs`` says otherwise."""

from __future__ import annotations

from typing import Any

import msgspec
import networkx


class Dependency(msgspec.Struct, frozen=True):
    """``target`` comes after ``source``; ``why`` is a name that is passed, "needs", or "": it keeps versions apart."""

    source: str
    target: str
    why: str = ""


def ordered(numbers: dict[str, int], dependencies: list[Dependency]) -> tuple[list[str], list[Dependency]]:
    """Steps in order, by their place on the page where there is a choice; or else a circle of dependencies."""
    stated: Any = networkx.DiGraph()
    stated.add_nodes_from(numbers)
    for strong in (True, False):
        stated.add_edges_from(
            (d.source, d.target, {"why": d.why})
            for d in dependencies
            if bool(d.why) is strong and d.source != d.target and not stated.has_edge(d.source, d.target)
        )
        try:
            circle = networkx.find_cycle(stated)
        except networkx.NetworkXNoCycle:
            continue
        return [], [Dependency(source, target, stated.edges[source, target]["why"]) for source, target in circle]
    return list(networkx.lexicographical_topological_sort(stated, key=numbers.__getitem__)), []
