"""Queues with real processes that die: each task completes once, limits hold across it all."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowbook.client import queue_asks
from flowbook.core import events as e
from flowbook.core.ids import Digest, WorkerId
from flowbook.core.module import Module, Workflow
from flowbook.core.queues import Limits
from tests.crash.project import Project, eventually, kill

pytestmark = [pytest.mark.slow, pytest.mark.crash]

SOURCE = """
import asyncio
import os
import time

from flowbook import Queue, step
from flowbook.runtime.definitions import Workflow


def note(ledger, *words):
    with open(ledger, "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")
        file.flush()
        os.fsync(file.fileno())


@step(queue=Queue("gpu", concurrency=2), concurrency_key=lambda ledger, name, seconds: f"key{name % 2}")
def work(ledger, name, seconds):
    note(ledger, "begin", name, os.getpid())
    time.sleep(seconds)
    note(ledger, "end", name, os.getpid())
    return name


async def fan(ledger: str, count: int, seconds: float):
    return sorted(await asyncio.gather(*(work(ledger, index, seconds) for index in range(count))))


@step
def local(ledger, name, seconds):
    note(ledger, "begin", name, os.getpid())
    time.sleep(seconds)
    return os.getpid()


async def sequence(ledger: str, count: int, seconds: float):
    return [await local(ledger, index, seconds) for index in range(count)]


fan, sequence = Workflow(fan), Workflow(sequence)
"""


class QueueProject(Project):
    """A project whose module has a queue."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        digest = Digest(hashlib.blake2b(SOURCE.encode(), digest_size=16).hexdigest())
        self.module = Module(digest, "queueing", SOURCE, (Workflow("fan"), Workflow("sequence")))
        self.client.put_module(self.module)

    def pids_of(self, queue: str) -> list[int]:
        return [int(each["pid"]) for each in self.client.status()["workers"] if queue in each["queues"]]

    def most_at_once(self, *runs: str) -> int:
        """The most steps of queues that were recorded as running at the same time."""
        events = sorted(
            ((recorded.time, recorded.seq, recorded.event) for run in runs for recorded in self.history(run)),
            key=lambda each: each[:2],
        )
        running: set[str] = set()
        most = 0
        for _, _, event in events:
            if isinstance(event, e.StepStarted):
                running.add(event.key)
            elif isinstance(event, e.StepCompleted | e.StepAttemptFailed):
                running.discard(event.key)
            most = max(most, len(running))
        return most


@pytest.fixture
def silence() -> str:
    """For how long a worker may say nothing; long, so that a busy machine ends none."""
    return "60"


@pytest.fixture(params=["", "1"], ids=["kept", "always evicted"])
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, silence: str
) -> Iterator[QueueProject]:
    monkeypatch.setenv("FLOWBOOK_ALWAYS_EVICT", request.param)
    monkeypatch.setenv("FLOWBOOK_WORKER_SILENCE", silence)
    made = QueueProject(tmp_path)
    yield made
    made.close()


COUNT = 8


def begun(project: QueueProject, count: int) -> bool:
    return project.lines("begin").total() >= count


def check_once(project: QueueProject, run: str) -> None:
    assert project.result(run) == list(range(COUNT))
    assert project.recorded_steps(run) == Counter({str(index): 1 for index in range(COUNT)})
    assert project.most_at_once(run) <= 2


def test_the_queues_worker_is_killed(project: QueueProject) -> None:
    project.start("r", "fan", ledger=str(project.ledger), count=COUNT, seconds=0.2)
    eventually(lambda: begun(project, 3))
    for pid in project.pids_of("gpu"):
        kill(pid)
    check_once(project, "r")
    repeated = sum(count - 1 for count in project.lines("begin").values())
    assert repeated <= 2


def test_the_engine_is_killed(project: QueueProject) -> None:
    project.start("r", "fan", ledger=str(project.ledger), count=COUNT, seconds=0.3)
    eventually(lambda: begun(project, 3))
    kill(project.engine_pid())
    check_once(project, "r")
    assert set(project.lines("begin").values()) == {1}


def test_the_workflows_worker_is_killed(project: QueueProject) -> None:
    project.start("r", "fan", ledger=str(project.ledger), count=COUNT, seconds=0.2)
    eventually(lambda: begun(project, 3))
    for pid in project.pids_of("default"):
        kill(pid)
    check_once(project, "r")
    assert set(project.lines("begin").values()) == {1}


def test_all_are_killed_again_and_again(project: QueueProject) -> None:
    project.start("r", "fan", ledger=str(project.ledger), count=COUNT, seconds=0.3)
    for turn in range(1, 4):
        eventually(lambda turn=turn: begun(project, 2 * turn))
        pids = project.pids_of("gpu")
        kill(project.engine_pid())
        for pid in pids[: turn % 2]:
            kill(pid, missing_ok=True)
    check_once(project, "r")


@pytest.mark.parametrize("silence", ["3"])
def test_a_silent_worker_is_replaced(project: QueueProject) -> None:
    project.start("r", "fan", ledger=str(project.ledger), count=COUNT, seconds=0.1)
    eventually(lambda: begun(project, 2))
    (pid,) = project.pids_of("gpu")
    os.kill(pid, signal.SIGSTOP)
    check_once(project, "r")


def test_a_drained_worker_ends_what_it_runs_and_hands_over_the_rest(project: QueueProject) -> None:
    project.start("r", "sequence", ledger=str(project.ledger), count=3, seconds=1.0)
    eventually(lambda: begun(project, 1))
    (first,) = project.pids_of("default")
    os.kill(first, signal.SIGTERM)
    pids = project.result("r")
    assert pids[0] == first and first not in pids[1:]
    assert set(project.lines("begin").values()) == {1}
    eventually(lambda: first not in project.worker_pids())
    failed = [recorded for recorded in project.history("r") if isinstance(recorded.event, e.StepAttemptFailed)]
    assert not failed


def test_a_drained_queue_worker_leaves_its_tasks_to_the_next(project: QueueProject) -> None:
    project.start("r", "fan", ledger=str(project.ledger), count=COUNT, seconds=0.3)
    eventually(lambda: begun(project, 2))
    (first,) = project.pids_of("gpu")
    assert project.client.ask(queue_asks.drain(str(first))) == first
    check_once(project, "r")
    assert set(project.lines("begin").values()) == {1}
    workers = {recorded.event.worker for recorded in project.history("r") if isinstance(recorded.event, e.StepStarted)}
    assert len(workers - {WorkerId("")}) == 2


def test_a_paused_queue_stays_paused_over_the_engines_death(project: QueueProject) -> None:
    project.client.ask(queue_asks.pause("gpu", "lunch"))
    project.client.ask(queue_asks.set_limits("gpu", Limits(concurrency=1)))
    project.start("r", "fan", ledger=str(project.ledger), count=3, seconds=0.01)
    eventually(lambda: len(project.history("r")) == 4)
    kill(project.engine_pid())
    time.sleep(0.5)
    (queue,) = [each for each in project.client.ask(queue_asks.queues()) if each["name"] == "gpu"]
    assert (queue["paused"], queue["waiting"], project.lines("begin").total()) == (True, 3, 0)
    project.client.ask(queue_asks.resume("gpu"))
    assert project.result("r") == [0, 1, 2]
    assert project.most_at_once("r") == 1
