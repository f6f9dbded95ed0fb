"""Mixed load on a real project for as long as one likes, and what was seen of it: figures a second, and what went
wrong.

Every run that is started must end, in time and as it should. Whoever looks on (subscribers, SQL, time travel) does so
all along.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from flowbook.api.source import accepted, compile_file
from flowbook.client import AsyncClient
from flowbook.core.events import Origin, Place
from flowbook.core.ids import RunId, Seq
from flowbook.core.value import NOTHING, Value
from flowbook.wire.codec import encode

FLOWS = Path(__file__).with_name("flows.py")

WITHIN = 60.0
"""Seconds in which a run must have ended, whatever else goes on."""

ENDS = {
    "steps": "succeeded",
    "retried": "succeeded",
    "failing": "failed",
    "resting": "succeeded",
    "asked": "succeeded",
    "cart": "succeeded",
    "wide": "succeeded",
    "in_queue": "succeeded",
    "parent": "succeeded",
    "going_on": "succeeded",
    "heavy": "succeeded",
    "cancelled": "cancelled",
    "provisioned": "succeeded",
    "undone": "failed",
    "fork": "succeeded",
}
"""What there is to start, and how each must end."""


@dataclass
class Sample:
    """What one look at the processes and files gave. Bytes, but for ``at`` (seconds) and counts."""

    at: float
    started: int
    ended: int
    open: int
    engine: int
    workers: int
    handles: int
    files: int
    database: int
    journal: int


@dataclass
class Log:
    """What happened."""

    started: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    updates: int = 0


class Soak:
    """The load on one project: ``rate`` runs a second for ``seconds``."""

    def __init__(self, home: Path, seconds: float, rate: float, seed: int, every: float) -> None:
        self.home = home
        self.log = Log()
        self._seconds = seconds
        self._rate = rate
        self._every = every
        self._chance = random.Random(seed)
        self._module = accepted(compile_file(FLOWS), FLOWS)
        self._place = Place(str(FLOWS.parents[2]), sys.executable)
        self._begin = time.monotonic()
        self._last = ""
        self._client: AsyncClient

    async def run(self) -> Log:
        """Load, then wait until all has ended."""
        async with AsyncClient(self.home) as self._client:
            await self._client.put_module(self._module)
            async with anyio.create_task_group() as lookers:
                lookers.start_soon(self._look_at_list)
                lookers.start_soon(self._ask_sql)
                lookers.start_soon(self._sample)
                async with anyio.create_task_group() as runs:
                    await self._start_runs(runs)
                lookers.cancel_scope.cancel()
            await self._note_sample()
        return self.log

    async def _start_runs(self, runs: anyio.abc.TaskGroup) -> None:
        due = time.monotonic()
        end, number = due + self._seconds, 0
        while due < end:
            await anyio.sleep(max(0.0, due - time.monotonic()))
            kind = self._chance.choice(list(ENDS))
            runs.start_soon(self._one, f"{kind}-{number}", kind)
            number += 1
            due += self._chance.expovariate(self._rate)

    # One run

    async def _one(self, run: str, kind: str) -> None:
        self.log.started[kind] += 1
        status = "not ended in time"
        try:
            with anyio.move_on_after(WITHIN):
                status = await self._carried_out(run, kind)
        except Exception as error:
            status = f"{type(error).__name__}: {error}"
        if status != ENDS[kind]:
            self.log.wrong.append(f"{run}: {status}")
        self.log.ended[kind] += 1

    async def _carried_out(self, run: str, kind: str) -> str:
        special = _DEALINGS.get(kind)
        if kind == "fork":
            await self._fork(run)
        else:
            await self._client.start(run, kind, self._module.digest, self._place, self._arguments(kind))
        async with anyio.create_task_group() as beside:
            if self._chance.random() < 0.1:
                beside.start_soon(self._watch, run)
            if special is not None:
                await special(self, run)
            summary = await self._client.wait(run)
            if kind == "steps":
                self._last = run
            if self._chance.random() < 0.05:
                await self._look_back(run)
        return str(summary["status"])

    def _arguments(self, kind: str) -> dict[str, Value]:
        match kind:
            case "resting":
                return {"seconds": value(self._chance.uniform(0.1, 20.0))}
            case "heavy":
                return {"mark": value(self._chance.randrange(2**32))}
            case _:
                return {}

    async def _fork(self, run: str) -> None:
        """A fork of the last run of ten steps that takes over its first half."""
        while not self._last:
            await anyio.sleep(0.1)
        begun = await self._client.history(self._last, 0, 1)
        origin = Origin(RunId(self._last), Seq(6), ())
        arguments = getattr(begun[0].event, "arguments", {})
        await self._client.start(
            run, "steps", self._module.digest, self._place, arguments, origin=origin, seed=self._last
        )

    async def _answer(self, run: str) -> None:
        await anyio.sleep(self._chance.uniform(0.0, 2.0))
        await self._client.signal(run, "answer", value(7))

    async def _shop(self, run: str) -> None:
        for item in range(3):
            self.log.updates += 1
            await self._client.update(run, "add", (value(item),))
        await self._client.query(run, "content")
        await self._client.signal(run, "checkout", NOTHING)

    async def _cancel(self, run: str) -> None:
        await anyio.sleep(self._chance.uniform(0.0, 0.5))
        await self._client.cancel(run, "enough")

    # Those who look on

    async def _watch(self, run: str) -> None:
        last: dict[str, Any] = {}
        async for update in self._client.watch(run):
            last = update
        if not last:
            self.log.wrong.append(f"{run}: nothing was published")

    async def _look_back(self, run: str) -> None:
        seq = (await self._client.run(run))["seq"]
        await self._client.at(run, self._chance.randint(1, seq))
        await self._client.view(run, self._chance.randint(1, seq))

    async def _look_at_list(self) -> None:
        async for _ in self._client.watch():
            await anyio.sleep(0.5)

    async def _ask_sql(self) -> None:
        while True:
            await self._client.sql("select workflow, status, count(*), sum(events) from runs group by all")
            await anyio.sleep(5.0)

    # Figures

    async def _sample(self) -> None:
        while True:
            await self._note_sample()
            await anyio.sleep(self._every)

    async def _note_sample(self) -> None:
        status = await self._client.status()
        pids = [int(status["pid"]), *(int(worker["pid"]) for worker in status["workers"])]
        self.log.samples.append(
            Sample(
                at=time.monotonic() - self._begin,
                started=self.log.started.total(),
                ended=self.log.ended.total(),
                open=int(status["open_runs"]),
                engine=_memory(pids[0]),
                workers=sum(map(_memory, pids[1:])),
                handles=sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
                files=sum(1 for _ in (self.home / "values").rglob("*")),
                database=_size(self.home, "flowbook.duckdb*"),
                journal=_size(self.home, "journal.sqlite*"),
            )
        )


_DEALINGS: dict[str, Callable[[Soak, str], Awaitable[None]]] = {
    "asked": Soak._answer,
    "cart": Soak._shop,
    "cancelled": Soak._cancel,
}


def value(data: object) -> Value:
    return encode(data, lambda body: "", "argument")


def _memory(pid: int) -> int:
    """Resident bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)


def _size(folder: Path, pattern: str) -> int:
    return sum(file.stat().st_size for file in folder.glob(pattern))
