"""What a durable step costs, counted and not timed: the same on every machine.

A whole project runs in this process - engine, worker, their socket - so what is counted is all that Flowbook does for a
step. Where a change makes a count larger, that change has a price: pay it with open eyes and write the new number here,
or do it in another way. Seconds are measured by ``make bench``.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tracemalloc
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import flowbook
from flowbook.core import events as e
from flowbook.core.ids import Digest, Key, RunId, Seq
from flowbook.engine.runs import LiveRun
from flowbook.runtime.execution import Execution
from flowbook.store.base import entry
from flowbook.store.memory import MemoryStore
from flowbook.testing import TestEngine

PACKAGE = Path(flowbook.__file__).parent
COUNTED = tuple(f"{PACKAGE / part}{os.sep}" for part in ("core", "runtime", "wire", "store", "engine", "worker"))

pytestmark = pytest.mark.anyio

CALLS_A_STEP = 144
"""Functions entered for a step more in a row of them, by engine and worker together."""

CALLS_OF_MANY = 94
"""The same where steps are side by side and share what can be shared."""

CALLS_AN_EVENT = 32
"""Functions entered to execute a step of a history again."""

BYTES_A_STEP = 240
"""Of the record of a step's end, with a value of one byte."""

BYTES_AN_OPEN_RUN = 3200
"""In the engine's memory: the state and the history of a run that sleeps."""


@flowbook.step
async def nothing(x: int) -> int:
    return x


@flowbook.workflow
async def sequence(steps: int) -> int:
    for number in range(steps):
        await nothing(number)
    return steps


@flowbook.workflow
async def parallel(steps: int) -> int:
    return len(await asyncio.gather(*(nothing(number) for number in range(steps))))


class Calls:
    """Counts Flowbook's functions that are entered in its block; not those of the world it is tested in."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Calls:
        self._before = sys.getprofile()
        sys.setprofile(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> None:
        self.count += event == "call" and frame.f_code.co_filename.startswith(COUNTED)


async def counted(workflow: Any, steps: int) -> tuple[int, int]:
    """Calls and commits of one run, from its start to its end."""
    async with TestEngine() as env:
        await (await env.start(workflow, 3)).result()
        host = env._world_now.host
        assert host is not None and isinstance(host.engine.store, MemoryStore)
        before = host.engine.store.commits
        with Calls() as found:
            run = await env.start(workflow, steps)
            await run.result()
        assert run.status == "succeeded"
        return found.count, host.engine.store.commits - before


async def test_a_step_more_costs_so_many_calls_and_one_commit() -> None:
    few, many = await counted(sequence, 20), await counted(sequence, 120)
    assert many[1] - few[1] == 100
    assert (many[0] - few[0]) / 100 <= CALLS_A_STEP


async def test_steps_side_by_side_share_their_commits() -> None:
    few, many = await counted(parallel, 100), await counted(parallel, 200)
    assert many[1] == few[1] <= 3
    assert (many[0] - few[0]) / 100 <= CALLS_OF_MANY


async def test_the_end_of_a_step_is_one_short_record() -> None:
    async with TestEngine() as env:
        run = await env.start(sequence, 5)
        await run.result()
        ends = [recorded for recorded in run.history if isinstance(recorded.event, e.StepCompleted)]
        assert len(ends) == 5 and len(run.history) == 7
        for recorded in ends:
            assert len(entry(RunId(run.id), recorded).record) <= BYTES_A_STEP


async def test_a_history_is_executed_again_with_so_many_calls_an_event() -> None:
    async with TestEngine() as env:
        run = await env.start(sequence, 300)
        await run.result()
        history = run.history

    def work() -> None:
        execution = Execution(sequence, save=lambda data: "", load=lambda digest: b"", places=None)  # type: ignore[arg-type,return-value]
        execution.begin(history)
        assert execution.closed

    work()
    with Calls() as found:
        work()
    assert found.count / len(history) <= CALLS_AN_EVENT


def test_an_open_run_keeps_so_many_bytes() -> None:
    begun = e.RunStarted(run=RunId("r"), workflow="w", module=Digest("m" * 32), place=e.Place("/home/me/project", "py"))
    asleep = e.TimerStarted(key=Key("/timer@ad1e41"), due=2.0, site=3)
    facts = [entry(RunId("r"), e.Recorded(Seq(n), 1.0, fact)).record for n, fact in ((1, begun), (2, asleep))]
    count = 200
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        runs = [LiveRun(RunId(f"run-{n}"), [bytes(bytearray(fact)) for fact in facts]) for n in range(count)]
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert runs and (after - before) / count <= BYTES_AN_OPEN_RUN
