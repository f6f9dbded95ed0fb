"""``python -m benchmarks.growth`` (``make bench-growth``): how the figures change as a project grows.

Curves over runs in the file, open runs, the length of a history, fan-out, items of a map, and the size of a value;
end-to-end latency while the engine is half busy. ``--only runs,payload`` measures some, ``--most 100000`` cuts every
curve there, ``--json`` prints one document, ``--plot FILE.svg`` draws the curves. Real engine, real workers, durable
commits.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable

import anyio

from benchmarks.filling import fill
from benchmarks.project import Project, memory, project
from benchmarks.work import percentile, timed
from flowbook.client import AsyncClient

Point = dict[str, float]

MIB = 1024 * 1024


def runs(size: int) -> Point:
    """Ended runs in the file: does a project that has seen a million still start and answer?"""
    with project() as made:
        made.warm()
        made.start("one", "single", x=1)
        made.finish("one")
        fill(made, "one", size, "old")
        cold = timed(made.client.status)
        made.warm("again")
        times = sorted(timed(lambda n=n: _round_trip(made, f"new-{n}")) * 1000 for n in range(100))  # type: ignore[misc]
        return {
            "runs in the file": size,
            "cold start s": cold,
            "W4 p50 ms": percentile(times, 50),
            "engine MiB": memory(made.pids()[0]) / MIB,
            "an old run's history ms": _median(lambda: made.client.history(f"old-{size // 3}")) * 1000,
            "list of runs ms": _median(lambda: made.client.runs(100)) * 1000,
            "sql: runs by status ms": _median(
                lambda: made.client.sql("select status, count(*) from runs group by 1"), 1
            )
            * 1000,
            "bytes a run on disk": (made.home / "flowbook.duckdb").stat().st_size / size,
        }


def _round_trip(made: Project, run: str) -> None:
    made.start(run, "single", x=1)
    made.finish(run)


def _median(work: Callable[[], object], rounds: int = 3) -> float:
    return statistics.median(timed(work) for _ in range(rounds))


def sleepers(size: int) -> Point:
    """Open runs, all asleep: a cold start with them, what they keep in memory, and whether others are slower."""
    with project() as made:
        made.warm()
        empty = memory(made.pids()[0])
        made.start("sleeper", "sleeper")
        _until_waiting(made, "sleeper")
        fill(made, "sleeper", size, "asleep")
        cold = timed(made.client.status)
        made.warm("again")
        times = sorted(timed(lambda n=n: _round_trip(made, f"new-{n}")) * 1000 for n in range(100))  # type: ignore[misc]
        engine, workers = made.pids()
        point = {
            "open runs": float(size),
            "cold start s": cold,
            "W4 p50 ms": percentile(times, 50),
            "engine KiB a run": max(0, memory(engine) - empty) / size / 1024,
            "worker MiB": sum(map(memory, workers)) / MIB,
        }
        os.kill(engine, signal.SIGKILL)
        point["back after SIGKILL s"] = timed(lambda: _until_open(made, size))
        return point


def _until_waiting(made: Project, run: str) -> None:
    while made.client.run(run)["status"] != "waiting":
        time.sleep(0.01)


def _until_open(made: Project, runs: int) -> None:
    while made.client.status()["open_runs"] < runs:
        time.sleep(0.005)


def history(size: int) -> Point:
    """Events of one run: is the last step as quick as the first, and how long does it take to bring the run back?"""
    with project() as made:
        made.warm()
        made.start("long", "paced", steps=size)
        _until_waiting(made, "long")
        seconds = timed(lambda: _go_on(made, "long", 100))
        for pid in made.pids()[1]:
            os.kill(pid, signal.SIGKILL)
        back = timed(lambda: _go_on(made, "long", 1))
        view = _median(lambda: made.client.view("long", size // 2 + 1), 1)
        moment = _median(lambda: made.client.at("long", size // 2 + 1), 1)
        return {
            "events": float(size),
            "a step more ms": seconds / 100 * 1000,
            "back after its worker's SIGKILL s": back,
            "view at half ms": view * 1000,
            "frames at half ms": moment * 1000,
        }


def _go_on(made: Project, run: str, steps: int) -> None:
    """Let a paced run do so many steps more, and wait until it has."""
    from flowbook.core.events import SignalAwaited

    before = made.client.run(run)["seq"]
    made.signal(run, "go", steps)
    while True:
        fresh = made.client.history(run, before)
        if any(isinstance(recorded.event, SignalAwaited) for recorded in fresh):
            return
        time.sleep(0.001)


def fan_out(size: int) -> Point:
    """Steps side by side in one run, with ``asyncio.gather``."""
    return {"steps side by side": float(size), "steps/s": _rate("parallel", size)}


def map_items(size: int) -> Point:
    """Items of one ``map``, 100 at a time."""
    return {"items": float(size), "items/s": _rate("mapped", size)}


def _rate(workflow: str, steps: int) -> float:
    with project() as made:
        made.warm()

        def work() -> None:
            made.start("wide", workflow, steps=steps)
            made.finish("wide")

        return steps / timed(work)


def payload(kibibytes: int) -> Point:
    """A value that a step returns and the next one takes, durable in between."""
    size = kibibytes * 1024
    rounds = max(1, min(50, 20 * MIB // size))
    with project() as made:
        made.warm()

        def work() -> None:
            made.start("heavy", "carried", size=size, rounds=rounds)
            made.finish("heavy")

        seconds = timed(work)
        return {
            "KiB": float(kibibytes),
            "ms a value": seconds / rounds * 1000,
            "MiB/s": size * rounds / MIB / seconds,
            "engine MiB": memory(made.pids()[0]) / MIB,
        }


def latency(share: int) -> Point:
    """Start to result of one-step runs that come at random, while the engine is busy to so many percent."""
    with project() as made:
        made.warm()
        rate = anyio.run(_capacity, made) * share / 100
        times = sorted(anyio.run(_arrivals, made, rate, share))
        named = {f"p{percent:g} ms": percentile(times, percent) * 1000 for percent in (50, 90, 99, 99.9)}
        return {"percent of capacity": float(share), "runs/s": rate, **named}


async def _capacity(made: Project, count: int = 4000) -> float:
    """Runs a second, with 100 of them in flight."""
    room = anyio.CapacityLimiter(100)
    begin = time.perf_counter()
    async with AsyncClient(made.home) as client, anyio.create_task_group() as tasks:

        async def one(number: int) -> None:
            async with room:
                await made.astart(client, f"most-{number}", "single", x=1)
                await client.wait(f"most-{number}")

        for number in range(count):
            tasks.start_soon(one, number)
    return count / (time.perf_counter() - begin)


async def _arrivals(made: Project, rate: float, mark: int, seconds: float = 8.0) -> list[float]:
    """Runs that come at a rate, whether those before are done or not; how long each took."""
    import random

    draw, times = random.Random(mark), []
    async with AsyncClient(made.home) as client, anyio.create_task_group() as tasks:

        async def one(number: int, due: float) -> None:
            await made.astart(client, f"at-{mark}-{number}", "single", x=1)
            await client.wait(f"at-{mark}-{number}")
            # From when it should have begun: what waits in line counts.
            times.append(time.perf_counter() - due)

        due, end, number = time.perf_counter(), time.perf_counter() + seconds, 0
        while due < end:
            await anyio.sleep(max(0.0, due - time.perf_counter()))
            tasks.start_soon(one, number, due)
            number += 1
            due += draw.expovariate(rate)
    return times


def _tens(first: int, last: int) -> list[int]:
    return [10**power for power in range(first, last + 1)]


CURVES: dict[str, tuple[Callable[[int], Point], list[int]]] = {
    "runs": (runs, _tens(2, 6)),
    "sleepers": (sleepers, _tens(1, 5)),
    "history": (history, _tens(1, 5)),
    "fan_out": (fan_out, _tens(1, 4)),
    "map_items": (map_items, _tens(1, 4)),
    "payload": (payload, _tens(0, 5)),
    "latency": (latency, [10, 25, 50, 75]),
}


def main() -> int:
    """Measure, and print tables or JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(CURVES), help="which, by comma (default: all)")
    parser.add_argument("--most", type=int, default=10**9, help="no size above this")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--plot", metavar="FILE", help="draw the curves (.svg or .png); needs matplotlib")
    options = parser.parse_args()
    names = [name.strip() for name in options.only.split(",")]
    unknown = [name for name in names if name not in CURVES]
    if unknown:
        parser.error(f"no curve is called {unknown[0]}; there are {', '.join(CURVES)}")
    found: dict[str, list[Point]] = {}
    for name in names:
        measure, sizes = CURVES[name]
        print(f"{name} ...", file=sys.stderr, flush=True)
        found[name] = [measure(size) for size in sizes if size <= options.most]
        if not options.json:
            print(table(name, found[name]), flush=True)
    if options.json:
        print(json.dumps(found, indent=1))
    if options.plot:
        from benchmarks.plot import plot

        plot(found, options.plot)
    return 0


def table(name: str, points: list[Point]) -> str:
    """One curve."""
    titles = list(points[0])
    doc = (CURVES[name][0].__doc__ or "").strip()
    lines = ["", doc, "  ".join(f"{title:>{max(12, len(title))}}" for title in titles)]
    for point in points:
        lines.append("  ".join(f"{_number(point[title]):>{max(12, len(title))}}" for title in titles))
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
