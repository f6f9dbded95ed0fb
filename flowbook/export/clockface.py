"""From time to pixels on a timeline: idle stretches are cut out, and ticks fall on round durations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

CUT = 34.0
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200,
         86400, 172800, 604800)  # fmt: skip


class Piece(NamedTuple):
    """A stretch of time and where it is drawn; ``cut``: it is idle and drawn short."""

    start: float
    end: float
    left: float
    right: float
    cut: bool


class Scale:
    """Where a moment is drawn."""

    def __init__(self, busy: Sequence[tuple[float, float]], left: float, width: float) -> None:
        self.pieces = _pieces(_merged(busy), left, width)

    def x(self, time: float) -> float:
        """The pixel of a moment; times outside are drawn at the ends."""
        pieces = self.pieces
        for piece in pieces:
            if time <= piece.end:
                if time <= piece.start or piece.end <= piece.start:
                    return piece.left
                return piece.left + (time - piece.start) / (piece.end - piece.start) * (piece.right - piece.left)
        return pieces[-1].right

    def ticks(self) -> list[tuple[float, float]]:
        """Pixels and seconds since the start, where a line is drawn."""
        found: list[tuple[float, float]] = []
        origin = self.pieces[0].start
        solid = [piece for piece in self.pieces if not piece.cut]
        wide = sum(piece.right - piece.left for piece in solid)
        long = sum(piece.end - piece.start for piece in solid)
        step = next((s for s in STEPS if long <= 0 or s / long * wide >= 72), STEPS[-1])
        for piece in solid:
            first = math.ceil((piece.start - origin) / step - 1e-6)
            last = math.floor((piece.end - origin) / step + 1e-6)
            for index in range(first, min(last, first + 40) + 1):
                x = self.x(origin + index * step)
                if not found or x - found[-1][0] >= 56:
                    found.append((x, index * step))
        return found


def _merged(busy: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(busy):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _pieces(busy: list[tuple[float, float]], left: float, width: float) -> list[Piece]:
    active = sum(end - start for start, end in busy)
    limit = max(1.0, 0.6 * active)
    stretches: list[tuple[float, float, bool]] = []
    for start, end in busy:
        if stretches:
            before = stretches[-1][1]
            if start - before > limit:
                stretches += [(before, start, True), (start, end, False)]
            else:
                stretches[-1] = (stretches[-1][0], end, False)
        else:
            stretches.append((start, end, False))
    cuts = sum(cut for _, _, cut in stretches)
    short = min(CUT, width / 2 / cuts) if cuts else 0.0
    long = sum(end - start for start, end, cut in stretches if not cut)
    pieces, x = [], left
    for start, end, cut in stretches:
        share = (end - start) / long if long > 0 else 1 / (len(stretches) - cuts)
        wide = short if cut else (width - cuts * short) * share
        pieces.append(Piece(start, end, x, x + wide, cut))
        x += wide
    return pieces
