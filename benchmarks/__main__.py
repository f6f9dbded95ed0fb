"""``python -m benchmarks``: W2 and W4 of the design, median of three, in a state folder of its own.

W2: one workflow of 1,000 sequential steps, milliseconds a step. W4: start a workflow of one step and await its
result, warm; 50th and 99th percentile of 200. Nothing is tuned for it: this is what a user gets.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

AIMS = {"W2 ms/step": 0.8, "W4 p50 ms": 2.5, "W4 p99 ms": 8.0}


def main() -> int:
    """Measure, print a table, and say which aims are met."""
    with tempfile.TemporaryDirectory(prefix="flowbook-bench-") as folder:
        os.environ["FLOWBOOK_HOME"] = str(Path(folder) / ".flowbook")
        from flowbook.api.connection import connect

        try:
            measured = measure()
        finally:
            connect().client.stop()
    print(f"{'':12}{'measured':>10}{'aim':>8}")
    for name, value in measured.items():
        print(f"{name:12}{value:>10.2f}{AIMS[name]:>8}{'' if value <= AIMS[name] else '   not met'}")
    return 0


def measure() -> dict[str, float]:
    """Medians of three rounds, after one to warm up."""
    from benchmarks import workflows

    timed(lambda: workflows.sequence.run(50))
    long = [timed(lambda: workflows.sequence.run(1000)) for _ in range(3)]
    rounds = [[timed(lambda: workflows.single.run(1)) * 1000 for _ in range(200)] for _ in range(3)]
    percentiles = [statistics.quantiles(times, n=100) for times in rounds]
    return {
        "W2 ms/step": statistics.median(long),
        "W4 p50 ms": statistics.median(p[49] for p in percentiles),
        "W4 p99 ms": statistics.median(p[98] for p in percentiles),
    }


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
