"""What must not become slower: each figure beside a raw limit measured in the same run, so machines cancel out.

A ratio says how much Flowbook adds to what the method and the disk cost at least. ``REFERENCE`` are the ratios of the
last release; the gate is passed within ``SLACK`` of them. What can be counted is not measured here but in
``tests/laws/test_costs.py``: calls, commits and bytes a step.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import NamedTuple

SLACK = 1.5
"""Times worse than the reference: less than that is the noise of a shared machine, with medians of three."""


class Ratio(NamedTuple):
    """How many times its raw limit a figure costs."""

    name: str
    value: float
    reference: float

    @property
    def is_passed(self) -> bool:
        """True within the slack."""
        return self.value <= self.reference * SLACK


REFERENCE = {
    "W1 beside the bare method": 9.7,
    "W2 beside the bare method": 1.2,
    "W3 beside the bare method": 5.5,
    "W4 p50 beside a bare step": 4.3,
    "W5 p50 beside a bare step": 3.7,
    "W7 beside bare coroutines": 5.2,
}


def ratios(bare: dict[str, float], figures: dict[str, float], switches: float) -> list[Ratio]:
    """Of one run. ``bare`` are the bare method's figures, ``switches`` the interpreter's (``task_switches``)."""
    found = {
        "W1 beside the bare method": bare["W1 steps/s"] / figures["W1 steps/s"],
        "W2 beside the bare method": figures["W2 ms/step"] / bare["W2 ms/step"],
        "W3 beside the bare method": bare["W1 steps/s"] / figures["W3 steps/s"],
        "W4 p50 beside a bare step": figures["W4 p50 ms"] / bare["W2 ms/step"],
        "W5 p50 beside a bare step": figures["W5 p50 ms"] / bare["W2 ms/step"],
        "W7 beside bare coroutines": switches / figures["W7 events/s"],
    }
    return [Ratio(name, value, REFERENCE[name]) for name, value in found.items()]


def task_switches(rounds: int = 3, count: int = 100_000) -> float:
    """Times a second that this interpreter's asyncio goes on with a task: what W7 is made of."""

    async def work() -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    def rate() -> float:
        began = time.perf_counter()
        asyncio.run(work())
        return count / (time.perf_counter() - began)

    return statistics.median(rate() for _ in range(rounds))


def report(found: list[Ratio]) -> str:
    """The ratios, and which are not passed."""
    lines = [f"{'the gate':30}{'ratio':>10}{'reference':>12}{'at most':>10}"]
    for ratio in found:
        verdict = "" if ratio.is_passed else "   slower than it was"
        most = ratio.reference * SLACK
        lines.append(f"{ratio.name:30}{ratio.value:>10.2f}{ratio.reference:>12.2f}{most:>10.2f}{verdict}")
    return "\n".join(lines)
