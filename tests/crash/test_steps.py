"""Steps that take their worker down, or lose it: the run goes on or says why, and nothing is left of them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable

import pytest

from flowbook.core import events as e
from flowbook.core.events import Place
from flowbook.core.ids import Digest
from flowbook.core.module import Module, Workflow
from flowbook.engine.processes import is_alive
from tests.crash.project import Project, encoded, eventually, kill

pytestmark = [pytest.mark.crash, pytest.mark.slow]

SOURCE = """
import asyncio
import ctypes
import os
import re
import subprocess
import time

from flowbook import step
from flowbook.runtime.definitions import Workflow
from flowbook.worker.holding import Holding


def note(ledger, *words):
    with open(ledger, "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")


@step
def crash():
    ctypes.string_at(0)


@step
def long(ledger):
    note(ledger, "long")
    for _ in range(600):
        time.sleep(0.1)


async def crashing(ledger: str):
    await asyncio.gather(long(ledger), crash())


@step(isolate="process")
def apart(ledger):
    note(ledger, subprocess.Popen(["sleep", "600"]).pid)
    note(ledger, os.getpid())
    # It keeps all threads of its process from running.
    re.match(r"(a+)+$", "a" * 40 + "b")


async def isolated(ledger: str):
    return await apart(ledger)


@step(at_most_once=True)
def pay(ledger):
    note(ledger, "pay")
    for _ in range(100):
        time.sleep(0.05)
    return "paid"


async def paused(ledger: str):
    async def block():
        await asyncio.sleep(1.5)
        while not os.environ.get("MENDED"):
            pass
    return await asyncio.gather(pay(ledger), block())


async def hanging(ledger: str):
    await asyncio.sleep(0.1)
    re.match(r"(a+)+$", "a" * 40 + "b")


@step
def breaks():
    # An error in the worker itself, and not in a step.
    Holding.tend = None
    time.sleep(600)


async def breaking(ledger: str):
    await breaks()


FUNCTIONS = (crashing, isolated, paused, hanging, breaking)
crashing, isolated, paused, hanging, breaking = map(Workflow, FUNCTIONS)
"""

Start = Callable[[str], None]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWBOOK_BLOCK_BUDGET", "0.5")
    monkeypatch.setenv("FLOWBOOK_WORKER_SILENCE", "3")


@pytest.fixture
def start(impatient: None, project: Project) -> Start:
    digest = Digest(hashlib.blake2b(SOURCE.encode(), digest_size=16).hexdigest())
    names = ("crashing", "isolated", "paused", "hanging", "breaking")
    project.client.put_module(Module(digest, "falling", SOURCE, tuple(Workflow(name) for name in names)))
    place = Place(str(project.folder), sys.executable)
    arguments = {"ledger": encoded(str(project.ledger))}
    return lambda name: project.client.start(name, name, digest, place, arguments)


def written(project: Project) -> list[str]:
    return project.ledger.read_text().split() if project.ledger.exists() else []


def test_a_step_that_crashes_its_worker_at_once_fails_with_its_line(project: Project, start: Start) -> None:
    start("crashing")
    summary = project.client.wait("crashing", 60.0)
    assert summary["status"] == "failed" and summary["step"] == "crash" and summary["error"] is not None
    assert "SIGSEGV" in summary["error"].message and "of falling (in crash)" in summary["error"].message
    lost = [r.event for r in project.history("crashing") if isinstance(r.event, e.StepAttemptFailed)]
    assert [event.planned for event in lost if event.step == "crash"] == [False] * 4
    assert all(event.planned for event in lost if event.step == "long")


def test_a_step_that_breaks_its_worker_from_inside_fails_after_five_losses(project: Project, start: Start) -> None:
    start("breaking")
    summary = project.client.wait("breaking", 60.0)
    assert summary["status"] == "failed" and summary["step"] == "breaks" and summary["error"] is not None
    assert "exited with code 1" in summary["error"].message and "5th time" in summary["error"].message


def test_nothing_is_left_of_a_step_in_its_own_process_when_its_worker_dies(project: Project, start: Start) -> None:
    start("isolated")
    own = [int(pid) for pid in eventually(lambda: written(project)[1:] and written(project))]
    (worker,) = project.worker_pids()
    kill(worker)
    eventually(lambda: not any(is_alive(pid) for pid in own))
    project.client.terminate("isolated", "enough")


def test_a_step_that_runs_at_most_once_does_not_run_again_after_a_pause(project: Project, start: Start) -> None:
    start("paused")
    assert project.client.wait("paused", 60.0)["status"] == "paused"
    failed = [r.event for r in project.history("paused") if isinstance(r.event, e.StepFailed)]
    assert [(event.failure.type, event.step) for event in failed] == [("Interrupted", "pay")]
    project.client.resume("paused")
    assert project.client.wait("paused", 60.0)["status"] in ("paused", "failed")
    assert written(project) == ["pay"]


def test_code_that_keeps_all_threads_waiting_is_paused_with_its_line(project: Project, start: Start) -> None:
    start("hanging")
    summary = project.client.wait("hanging", 60.0)
    assert summary["status"] == "paused"
    assert "of falling (in hanging)" in summary["reason"] and 'isolate="process"' in summary["reason"]
