"""Workers that leave, break or die while their steps are in the middle of something: the next attempt is alone."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from flowbook.core.events import Place
from flowbook.core.ids import Digest
from flowbook.core.module import Module, Workflow
from tests.crash.project import Project, encoded, eventually

pytestmark = [pytest.mark.crash, pytest.mark.slow]

SOURCE = """
import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time

from flowbook import step, step_context
from flowbook.runtime.definitions import Workflow


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@step
def waits(ledger):
    if step_context().attempt > 1:
        with open(ledger) as file:
            return is_alive(int(file.read()))
    with open(ledger, "w") as file:
        file.write(str(os.getpid()))
    threading.Event().wait(60)


async def blocked(ledger: str):
    return await waits(ledger)


@step
def writes_bytes():
    sys.stdout.write(b"hello")
    time.sleep(0.2)


async def quits():
    sys.exit(3)


@step
async def exits():
    await asyncio.gather(quits(), asyncio.sleep(60))


@step
async def closes():
    await asyncio.sleep(0.01)
    raise GeneratorExit


@step
async def stops():
    asyncio.get_running_loop().stop()


@step
def calm():
    time.sleep(0.5)
    return step_context().attempt


async def shared(ledger: str):
    odd = (writes_bytes(), exits(), closes(), stops())
    *errors, attempt = await asyncio.gather(*odd, calm(), return_exceptions=True)
    return [attempt, *(str(error) for error in errors)]


@step
def forks(ledger):
    if step_context().attempt > 1:
        with open(ledger) as file:
            os.kill(int(file.read()), signal.SIGKILL)
        return time.time() - os.path.getmtime(ledger)
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    with open(ledger, "w") as file:
        file.write(str(child.pid))
    os.kill(os.getpid(), signal.SIGKILL)


async def forked(ledger: str):
    return await forks(ledger)


FUNCTIONS = (blocked, shared, forked)
blocked, shared, forked = map(Workflow, FUNCTIONS)
"""

Start = Callable[[str], None]


@pytest.fixture
def start(project: Project) -> Start:
    digest = Digest(hashlib.blake2b(SOURCE.encode(), digest_size=16).hexdigest())
    names = ("blocked", "shared", "forked")
    project.client.put_module(Module(digest, "leaving", SOURCE, tuple(Workflow(name) for name in names)))
    place = Place(str(project.folder), sys.executable)
    arguments = {"ledger": encoded(str(project.ledger))}
    return lambda name: project.client.start(name, name, digest, place, arguments)


@pytest.fixture
def worker(project: Project) -> Iterator[subprocess.Popen[bytes]]:
    """One that was started by hand."""
    command = [sys.executable, "-P", "-m", "flowbook.worker", "--home", str(project.home), "--grace", "0.2"]
    with subprocess.Popen(command, cwd=project.folder, stdout=subprocess.DEVNULL) as process:
        eventually(lambda: process.pid in project.worker_pids())
        yield process
        process.kill()


def begun(project: Project) -> int:
    return int(eventually(lambda: project.ledger.exists() and project.ledger.read_text()))


def test_a_drained_worker_leaves_while_a_thread_is_in_a_call_that_does_not_return(
    project: Project, start: Start, worker: subprocess.Popen[bytes]
) -> None:
    start("blocked")
    assert begun(project) == worker.pid
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(10.0) == 0
    assert project.result("blocked") is False


def test_a_step_that_would_end_its_worker_fails_alone(project: Project, start: Start) -> None:
    start("shared")
    attempt, *errors = project.result("shared")
    assert attempt == 1
    for error, name in zip(errors, ("TypeError", "SystemExit", "GeneratorExit", "RuntimeError"), strict=True):
        assert name in error


def test_the_death_of_a_worker_is_noticed_though_what_it_has_forked_lives_on(project: Project, start: Start) -> None:
    start("forked")
    assert project.result("forked") < 10.0
