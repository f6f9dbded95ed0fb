"""A layered layout of our own, for where Graphviz is missing: longest-path ranks, ordered by barycentres."""

from __future__ import annotations

from flowbook.core.graph import Box, Graph, Layout

MARGIN = 14.0
RANKS = 46.0
NODES = 26.0
SWEEPS = 4

Size = tuple[float, float]


def positions(graph: Graph, sizes: dict[str, Size]) -> Layout:
    """Boxes in rows, edges as curves between them."""
    names = [node.id for node in graph.nodes]
    links = {(e.source, e.target): None for e in graph.edges if e.source in sizes and e.target in sizes}
    above, below = _neighbours(names, list(links))
    rows = _ordered(_ranked(names, above), above, below)
    wide = max(_width(row, sizes) for row in rows)
    boxes: dict[str, Box] = {}
    top = MARGIN
    for row in rows:
        tall = max(sizes[name][1] for name in row)
        left = MARGIN + (wide - _width(row, sizes)) / 2
        for name in row:
            width, height = sizes[name]
            boxes[name] = Box(round(left + width / 2, 1), round(top + tall / 2, 1), width, height)
            left += width + NODES
        top += tall + RANKS
    paths = {f"{s}->{t}": _curve(boxes[s], boxes[t]) for s, t in links if s != t}
    return Layout(round(wide + 2 * MARGIN, 1), round(top - RANKS + MARGIN, 1), boxes, paths)


def _neighbours(names: list[str], links: list[tuple[str, str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Sources and targets of every node. An edge that would close a circle is left out of both."""
    below: dict[str, list[str]] = {name: [] for name in names}
    above: dict[str, list[str]] = {name: [] for name in names}
    for source, target in links:
        if source != target and not _reaches(below, target, source):
            below[source].append(target)
            above[target].append(source)
    return above, below


def _reaches(below: dict[str, list[str]], start: str, goal: str) -> bool:
    seen, frontier = {start}, [start]
    while frontier:
        name = frontier.pop()
        if name == goal:
            return True
        fresh = [other for other in below[name] if other not in seen]
        seen.update(fresh)
        frontier += fresh
    return False


def _ranked(names: list[str], above: dict[str, list[str]]) -> list[list[str]]:
    rank: dict[str, int] = {}
    waiting = list(names)
    while waiting:
        later = []
        for name in waiting:
            if all(source in rank for source in above[name]):
                rank[name] = 1 + max((rank[source] for source in above[name]), default=-1)
            else:
                later.append(name)
        waiting = later
    rows: list[list[str]] = [[] for _ in range(1 + max(rank.values()))]
    for name in names:
        rows[rank[name]].append(name)
    return rows


def _ordered(rows: list[list[str]], above: dict[str, list[str]], below: dict[str, list[str]]) -> list[list[str]]:
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        near = above if down else below
        place = {name: index / max(1, len(row)) for row in rows for index, name in enumerate(row)}
        for row in rows if down else rows[::-1]:
            middle = {
                name: sum(place[other] for other in near[name]) / len(near[name]) if near[name] else place[name]
                for name in row
            }
            row.sort(key=middle.__getitem__)
            place.update({name: index / max(1, len(row)) for index, name in enumerate(row)})
    return rows


def _width(row: list[str], sizes: dict[str, Size]) -> float:
    return sum(sizes[name][0] for name in row) + NODES * (len(row) - 1)


def _curve(source: Box, target: Box) -> str:
    y1, y2 = source.y + source.height / 2, target.y - target.height / 2
    bend = max(24.0, abs(y2 - y1) / 2)
    points = (source.x, y1, source.x, y1 + bend, target.x, y2 - bend, target.x, y2)
    places = [f"{round(point, 1):g}" for point in points]
    return f"M{places[0]} {places[1]}C{' '.join(places[2:])}l-4 -6.5m4 6.5l4 -6.5"
