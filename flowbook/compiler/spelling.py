"""How far apart two words are spelt, for "did you mean"."""

from __future__ import annotations

from collections.abc import Sequence


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The word of ``known`` within two edits of ``word`` (one, for short words), or None."""
    best = min(known, key=lambda other: distance(word, other))
    return best if word and distance(word, best) <= (2 if len(word) > 4 else 1) else None


def distance(one: str, other: str) -> int:
    """Letters to insert, delete or replace; 3 where it is more than two for certain."""
    if abs(len(one) - len(other)) > 2:
        return 3
    row = list(range(len(other) + 1))
    for index, letter in enumerate(one, 1):
        previous, row[0] = row[0], index
        for place, wanted in enumerate(other, 1):
            previous, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, previous + (letter != wanted))
    return row[-1]
