"""The world outside the workflows of this folder: what they did to it, and how it misbehaves."""

from __future__ import annotations

from collections import Counter


class Outside:
    """One for all runs of a test; ``clear`` begins anew."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.said: list[str] = []
        self.tokens: dict[str, str] = {}
        self.failures: Counter[str] = Counter()

    def say(self, what: str) -> int:
        """Note it; gives how often it was said."""
        self.said.append(what)
        return self.said.count(what)

    def fail(self, what: str, times: int) -> None:
        """Have ``what`` fail the next times it is tried."""
        self.failures[what] = times

    def try_to(self, what: str) -> None:
        self.say(what)
        if self.failures[what] > 0:
            self.failures[what] -= 1
            raise ConnectionError(f"{what} failed")


outside = Outside()
