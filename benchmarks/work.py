"""W1 to W7 of the design, one function each: what is done, and the figures it gives."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable
from typing import Any

import anyio

from benchmarks.project import Project, memory, project
from flowbook.client import AsyncClient
from flowbook.core.events import SignalAwaited, StepCompleted
from flowbook.core.value import NOTHING
from flowbook.runtime import modules
from flowbook.runtime.execution import Execution
from flowbook.wire.codec import encode

Figures = dict[str, float]


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def w1(runs: int = 1000, steps: int = 10, in_flight: int = 100) -> Figures:
    """1,000 workflows of 10 steps, 100 in flight."""
    with project() as made:
        made.warm()
        seconds = timed(lambda: anyio.run(_many, made, runs, steps, in_flight))
    return {"W1 steps/s": runs * steps / seconds}


async def _many(made: Project, runs: int, steps: int, in_flight: int) -> None:
    room = anyio.CapacityLimiter(in_flight)
    async with AsyncClient(made.home) as client, anyio.create_task_group() as tasks:

        async def one(number: int) -> None:
            async with room:
                await made.astart(client, f"w1-{number}", "sequence", steps=steps)
                summary = await client.wait(f"w1-{number}")
                assert summary["status"] == "succeeded"

        for number in range(runs):
            tasks.start_soon(one, number)


def w2(steps: int = 1000) -> Figures:
    """One workflow of 1,000 sequential steps."""
    with project() as made:
        made.warm()

        def work() -> None:
            made.start("w2", "sequence", steps=steps)
            made.finish("w2")

        return {"W2 ms/step": timed(work) / steps * 1000}


def w3(steps: int = 1000) -> Figures:
    """One workflow of 1,000 parallel steps."""
    with project() as made:
        made.warm()

        def work() -> None:
            made.start("w3", "parallel", steps=steps)
            made.finish("w3")

        return {"W3 steps/s": steps / timed(work)}


def w4(runs: int = 200) -> Figures:
    """Start a workflow of one step and await its result, warm."""
    with project() as made:
        made.warm()

        def work(number: int) -> None:
            made.start(f"w4-{number}", "single", x=number)
            made.finish(f"w4-{number}")

        times = sorted(timed(lambda number=number: work(number)) * 1000 for number in range(runs))  # type: ignore[misc]
    return {"W4 p50 ms": percentile(times, 50), "W4 p99 ms": percentile(times, 99)}


def w5(trips: int = 200) -> Figures:
    """A signal sent until the step that answers it is recorded, as somebody who watches the run sees it."""
    with project() as made:
        made.warm()
        made.start("w5", "answering")
        _until(made, "w5", SignalAwaited, 1)
        ping = encode(1, lambda data: "", "ping")
        times = []
        for number in range(trips):
            begin = time.perf_counter()
            made.client.signal("w5", "ping", ping)
            _until(made, "w5", StepCompleted, number + 1)
            times.append((time.perf_counter() - begin) * 1000)
        made.client.signal("w5", "ping", NOTHING)
        made.finish("w5")
    return {"W5 p50 ms": percentile(sorted(times), 50), "W5 p99 ms": percentile(sorted(times), 99)}


def _until(made: Project, run: str, kind: type, count: int, seen: dict[str, list[Any]] = {}) -> None:  # noqa: B006
    """Read on in the run's history until it holds so many events of this kind."""
    events = seen.setdefault(f"{made.home}{run}", [])
    while sum(isinstance(recorded.event, kind) for recorded in events[-3 * count - 3 :]) < min(count, 1) or (
        sum(isinstance(recorded.event, kind) for recorded in events) < count
    ):
        events += made.client.history(run, len(events))


def w6(runs: int = 10_000) -> Figures:
    """10,000 sleepers: started, what each keeps in the worker, and how soon a killed engine can go on."""
    with project() as made:
        made.warm()
        _, (worker,) = made.pids()
        before = memory(worker)
        seconds = timed(lambda: anyio.run(_sleepers, made, runs))
        time.sleep(7.0)
        kept = max(0, memory(worker) - before) / runs / 1024
        engine, _ = made.pids()
        os.kill(engine, signal.SIGKILL)
        back = timed(lambda: _until_open(made, runs))
    return {"W6 start s": seconds, "W6 KiB each": kept, "W6 back s": back}


async def _sleepers(made: Project, runs: int) -> None:
    room = anyio.CapacityLimiter(200)
    async with AsyncClient(made.home) as client, anyio.create_task_group() as tasks:

        async def one(number: int) -> None:
            async with room:
                await made.astart(client, f"w6-{number}", "sleeper")

        for number in range(runs):
            tasks.start_soon(one, number)


def _until_open(made: Project, runs: int) -> None:
    while made.client.status()["open_runs"] < runs:
        time.sleep(0.005)


def w7(events: int = 10_000) -> Figures:
    """Re-execute a finished history of 10,000 events, in the worker's own code."""
    with project() as made:
        made.start("w7", "sequence", steps=events - 2)
        made.finish("w7")
        history = made.client.history("w7")
        module = modules.load(made.module)
        workflow = module.workflow("sequence")

        def work() -> None:
            execution = Execution(workflow, save=lambda data: "", load=lambda digest: b"", places=module.places)  # type: ignore[arg-type,return-value]
            execution.begin(history)
            assert execution.closed

        seconds = statistics.median(timed(work) for _ in range(3))
        return {"W7 events/s": len(history) / seconds}


def percentile(ordered: list[float], percent: int) -> float:
    """Of values in order."""
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]
