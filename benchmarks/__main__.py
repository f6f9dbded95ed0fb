"""``python -m benchmarks``: W1 to W7 of the design beside the raw limits of the same disk, medians of three rounds.

``--only W1,W4`` measures some, ``--rounds 1`` is quick, ``--json`` prints one document; ``--gate`` also compares each
figure with a raw limit of the same run, and exits with 1 where one is slower than it was (``gate.py``). Real engine,
real worker processes; nothing is tuned for it: this is what a user gets. Durable means: an event is acknowledged after
its group was committed to SQLite in WAL mode with synchronous=FULL, one fsync a group, and there is no other mode. The
bare method is two processes that do the same without anything that makes it Flowbook (``ceiling.py``).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import disk, gate, work
from benchmarks.ceiling import ceiling

AIMS = {
    "W1 steps/s": 20_000,
    "W2 ms/step": 0.8,
    "W3 steps/s": 20_000,
    "W4 p50 ms": 2.5,
    "W4 p99 ms": 8.0,
    "W5 p50 ms": 2.0,
    "W6 start s": 3.0,
    "W6 KiB each": 2.0,
    "W6 back s": 1.0,
    "W7 events/s": 100_000,
}
"""Of the design, section 9."""

WORK = {"W1": work.w1, "W2": work.w2, "W3": work.w3, "W4": work.w4, "W5": work.w5, "W6": work.w6, "W7": work.w7}


def main() -> int:
    """Measure, and print a table or JSON."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="flowbook-disk-") as folder:
        limits = disk.limits(Path(folder))
    figures: dict[str, list[float]] = {}
    bare: dict[str, list[float]] = {}
    for _ in range(options.rounds if {"W1", "W2"} & set(options.only) else 0):
        for figure, value in ceiling().items():
            bare.setdefault(figure, []).append(value)
    for name in options.only:
        for _ in range(options.rounds):
            print(f"{name} ...", end="\r", file=sys.stderr, flush=True)
            for figure, value in WORK[name]().items():
                figures.setdefault(figure, []).append(value)
    if options.json:
        print(
            json.dumps(
                {"machine": _machine(), "disk": limits, "bare method": bare, "figures": figures, "aims": AIMS}, indent=1
            )
        )
    else:
        print(table(limits, bare, figures))
    return _gate(bare, figures) if options.gate else 0


def _gate(bare: dict[str, list[float]], figures: dict[str, list[float]]) -> int:
    """Exit code: 1 where something is slower than it was."""
    found = gate.ratios(_medians(bare), _medians(figures), gate.task_switches())
    print(f"\n{gate.report(found)}", file=sys.stderr)
    return 0 if all(ratio.is_passed for ratio in found) else 1


def _medians(figures: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in figures.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default=",".join(WORK), help="which, by comma (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each (default: 3)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--gate", action="store_true", help="exit with 1 where a ratio is worse than it was")
    options = parser.parse_args()
    options.only = [name.strip().upper() for name in options.only.split(",")]
    unknown = [name for name in options.only if name not in WORK]
    if unknown:
        parser.error(f"no work is called {unknown[0]}; there are {', '.join(WORK)}")
    if options.gate and set(options.only) != set(WORK):
        parser.error("--gate needs all of the work; leave out --only")
    return options


def _machine() -> dict[str, object]:
    return {"python": platform.python_version(), "system": platform.platform(), "processors": _processors()}


def _processors() -> int:
    import os

    return os.cpu_count() or 0


def table(limits: dict[str, float], bare: dict[str, list[float]], figures: dict[str, list[float]]) -> str:
    """What was measured, beside what is aimed at, what the disk gives and what the bare method costs."""
    lines = ["the disk", *(f"  {name:46}{value:>12,.0f}" for name, value in limits.items()), ""]
    if bare:
        lines += [
            "the bare method",
            *(f"  {name:46}{_number(statistics.median(v)):>12}" for name, v in bare.items()),
            "",
        ]
    one = limits["SQLite WAL FULL, 1 row a commit /s"]
    lines.append(f"{'flowbook':14}{'median':>12}{'least':>12}{'most':>12}{'aim':>10}   beside one SQLite commit")
    for name, values in figures.items():
        middle, aim = statistics.median(values), AIMS.get(name)
        met = "" if aim is None or _is_met(name, middle) else "   not met"
        beside = _beside(name, middle, one)
        if name in bare:
            beside += f", {middle / statistics.median(bare[name]):.2g} x the bare method"
        lines.append(
            f"{name:14}{_number(middle):>12}{_number(min(values)):>12}{_number(max(values)):>12}"
            f"{'' if aim is None else _number(aim):>10}   {beside}{met}"
        )
    return "\n".join(lines)


def _beside(name: str, value: float, commits: float) -> str:
    """The figure as a multiple of one durable commit of the same disk."""
    if name.endswith("/s"):
        return f"{value / commits:.2g} x its rate"
    return f"{value / 1000 * commits:.2g} x its time" if "ms" in name else ""


def _is_met(name: str, value: float) -> bool:
    return value >= AIMS[name] if name.endswith("/s") else value <= AIMS[name]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
