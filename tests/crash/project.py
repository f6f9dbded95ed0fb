"""A project folder with a real engine and real workers, a module to run, and a ledger its steps write to."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from flowbook.client import Client
from flowbook.core import events as e
from flowbook.core.events import Place
from flowbook.core.ids import Digest
from flowbook.core.module import Module, Workflow
from flowbook.core.value import Value, shown

SOURCE = """
import asyncio
import os
import time

from flowbook import Queue, RetryPolicy, operation, saga, signal, step, step_context
from flowbook.runtime.definitions import Workflow


def note(ledger, *words):
    with open(ledger, "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")
        file.flush()
        os.fsync(file.fileno())


@step
def work(ledger, name, seconds):
    note(ledger, "begin", name, os.getpid())
    time.sleep(seconds)
    note(ledger, "end", name, os.getpid())
    return name


@step(queue=Queue("gpu", concurrency=2))
def elsewhere(ledger, name, seconds):
    note(ledger, "begin", name, os.getpid())
    time.sleep(seconds)
    note(ledger, "end", name, os.getpid())
    return name


async def queued(ledger: str, count: int, seconds: float):
    return sorted(await asyncio.gather(*(elsewhere(ledger, index, seconds) for index in range(count))))


async def sequence(ledger: str, count: int, seconds: float):
    return [await work(ledger, index, seconds) for index in range(count)]


async def fan(ledger: str, count: int, seconds: float):
    return sorted(await asyncio.gather(*(work(ledger, index, seconds) for index in range(count))))


async def sleeper(seconds: float):
    await asyncio.sleep(seconds)
    return "woken"


async def asked(ledger: str):
    await work(ledger, "before", 0.1)
    answer = await signal("answer", timeout="1m")
    await work(ledger, "after", 0.1)
    return answer


async def mixed(ledger: str, count: int):
    async def branch(index):
        for turn in range(4):
            await work(ledger, f"{index}.{turn}", 0.05)
            await asyncio.sleep(0.1)
        return index
    return sorted(await asyncio.gather(*(branch(index) for index in range(count))))


@step
def create(ledger):
    note(ledger, "create", "vm")
    return ledger


@step
def ready(ledger):
    time.sleep(0.05)
    return os.path.exists(ledger + ".ready")


@step(retry=RetryPolicy(maximum_attempts=0, initial_interval=0.1))
def delete(ledger):
    note(ledger, "delete", "vm")


@step
def gone(ledger):
    note(ledger, "confirm", "vm")
    return True


async def provision(ledger: str, timeout: float):
    return await operation(
        create, ledger, poll=ready, every=0.2, timeout=timeout or None, cancel=delete, confirm=gone
    )


@step
def buy(ledger, name, seconds):
    note(ledger, "ask", name + "-" + step_context().idempotency_key)
    time.sleep(seconds)
    return name


@step(retry=RetryPolicy(maximum_attempts=0, initial_interval=0.1))
def give_back(ledger, name, idempotency_key):
    note(ledger, "gone", name + "-" + idempotency_key)


@step(retry=RetryPolicy(maximum_attempts=0, initial_interval=0.1))
def call_off(bought=None, *, ledger, name, idempotency_key):
    note(ledger, "calling", name)
    time.sleep(0.5)
    note(ledger, "gone", name + "-" + idempotency_key)


@step
def arrived(bought, *, ledger):
    return os.path.exists(ledger + ".ready")


async def ordering(ledger: str, seconds: float):
    return await operation(buy, ledger, "vm", seconds, poll=arrived, every=0.2, cancel=call_off)


async def shopping(ledger: str, seconds: float, fails: bool):
    async with saga() as s:
        await s.do(buy, ledger, "pear", 0.0, undo=give_back)
        await s.do(buy, ledger, "fig", seconds, undo=give_back)
        if fails:
            raise ValueError("no")
    return "bought"


@step(at_most_once=True)
def pay(ledger, seconds):
    note(ledger, "pay", "rent")
    time.sleep(seconds)
    return "paid"


async def paying(ledger: str, seconds: float):
    return await pay(ledger, seconds)


@step
async def nothing(index):
    return index


async def quick(count: int):
    for begin in range(0, count, 5000):
        await asyncio.gather(*(nothing(index) for index in range(begin, begin + 5000)))
    return count


FUNCTIONS = (sequence, fan, sleeper, asked, mixed, provision, ordering, shopping, paying, quick, queued)
sequence, fan, sleeper, asked, mixed, provision, ordering, shopping, paying, quick, queued = map(Workflow, FUNCTIONS)
"""


NAMES = (
    "sequence", "fan", "sleeper", "asked", "mixed", "provision", "ordering", "shopping", "paying", "quick", "queued",
)  # fmt: skip


def encoded(value: object) -> Value:
    body = msgspec.json.encode(value)
    return Value(codec="json", data=msgspec.Raw(body), size=len(body))


class Project:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / ".flowbook"
        self.ledger = folder / "ledger"
        self.client = Client(self.home)
        digest = Digest(hashlib.blake2b(SOURCE.encode(), digest_size=16).hexdigest())
        self.module = Module(digest, "crashing", SOURCE, tuple(Workflow(name) for name in NAMES))
        self.client.put_module(self.module)

        self.place = Place(str(folder), sys.executable)

    def start(self, run: str, workflow: str, **arguments: object) -> None:
        values = {name: encoded(value) for name, value in arguments.items()}
        self.client.start(run, workflow, self.module.digest, self.place, values)

    def result(self, run: str, timeout: float = 60.0) -> Any:
        summary = self.client.wait(run, timeout)
        assert summary["status"] == "succeeded", summary
        assert summary["result"] is not None
        return shown(summary["result"])

    def history(self, run: str) -> list[e.Recorded]:
        return self.client.history(run)

    def lines(self, word: str) -> Counter[str]:
        if not self.ledger.exists():
            return Counter()
        found = [line.split() for line in self.ledger.read_text().splitlines()]
        return Counter(words[1] for words in found if words[0] == word)

    def recorded_steps(self, run: str) -> Counter[str]:
        events = (recorded.event for recorded in self.history(run))
        return Counter(str(shown(event.value)) for event in events if isinstance(event, e.StepCompleted))

    def engine_pid(self) -> int:
        return int(self.client.status()["pid"])

    def worker_pids(self) -> list[int]:
        return [int(worker["pid"]) for worker in self.client.status()["workers"]]

    def close(self) -> None:
        pids: list[int] = []
        with contextlib.suppress(Exception):
            pids = self.worker_pids()
            self.client.stop(0.0)
        self.client.close()
        for pid in pids:
            kill(pid, missing_ok=True)


def kill(pid: int, *, missing_ok: bool = False) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        if not missing_ok:
            raise


def eventually(condition: Callable[[], Any], timeout: float = 20.0) -> Any:
    """Real processes have no virtual clock: look until it is so."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not so within {timeout} s: {condition}")
