"""``flowbook engine stop``: running steps may end, runs go on with the next engine, and what is said is true."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flowbook.client import Client, launch
from tests.crash.project import eventually
from tests.end_to_end.project import Project
from tests.engine.processes import is_free

pytestmark = pytest.mark.slow

FLOWS = """
import os, time
from flowbook import step, workflow


def work(name, seconds):
    with open("ledger.txt", "a") as file:
        file.write(f"begin {name}\\n")
    until = time.monotonic() + seconds
    while time.monotonic() < until and not os.path.exists("be-quick"):
        time.sleep(0.02)
    with open("ledger.txt", "a") as file:
        file.write(f"end {name}\\n")


@step
def here(seconds):
    work("here", seconds)


@step(queue="gpu")
def there(seconds):
    work("there", seconds)


@step
def after():
    work("after", 0)


@workflow
async def local(seconds: float):
    await here(seconds)
    await after()


@workflow
async def queued(seconds: float):
    await there(seconds)
    await after()
"""


@pytest.fixture
def project(tmp_path: Path) -> Any:
    (tmp_path / "flows.py").write_text(FLOWS)
    made = Project(tmp_path)
    yield made
    made("engine", "stop", "--now", code=None)


def begun(project: Project, *names: str, seconds: float) -> None:
    for name in names:
        project("run", f"flows.py:{name}", "-p", f"seconds={seconds}", "--id", name, "--detach")
    steps = {"local": "here", "queued": "there"}
    eventually(lambda: {f"begin {steps[name]}" for name in names} <= set(project.ledger()))


def let_end(project: Project) -> None:
    """Let the steps end, once the engine is stopping."""
    with Client(project.folder / ".flowbook", start=False) as client:
        eventually(lambda: client.status()["stopping"])
        (project.folder / "be-quick").touch()


def kinds(project: Project, run: str) -> list[str]:
    return [line["event"]["kind"] for line in project.json("history", "show", run)]


def test_running_steps_may_end_and_nothing_new_begins(project: Project) -> None:
    begun(project, "local", "queued", seconds=60.0)
    home = project.folder / ".flowbook"
    pid = launch.read_address(home).pid  # type: ignore[union-attr]
    with ThreadPoolExecutor(1) as threads:
        letting = threads.submit(let_end, project)
        stopped = project.json("engine", "stop")
        letting.result()
    assert stopped == {"stopped": True, "pid": pid}
    assert is_free(home)
    assert set(project.ledger()) == {"begin here", "end here", "begin there", "end there"}
    for run in ("local", "queued"):
        project("watch", run)
        assert "StepAttemptFailed" not in kinds(project, run)
    assert project.ledger().count("begin here") == project.ledger().count("begin there") == 1


def test_a_grace_ends_and_what_still_ran_begins_again(project: Project) -> None:
    begun(project, "local", "queued", seconds=60.0)
    began = time.monotonic()
    project("engine", "stop", "--grace", "500ms")
    assert time.monotonic() - began < 30.0 and is_free(project.folder / ".flowbook")
    assert "end here" not in project.ledger()
    (project.folder / "be-quick").touch()
    for run in ("local", "queued"):
        project("watch", run)
        assert "StepAttemptFailed" in kinds(project, run)


def test_now_does_not_wait(project: Project) -> None:
    begun(project, "local", seconds=60.0)
    began = time.monotonic()
    project("engine", "stop", "--now")
    assert time.monotonic() - began < 8.0 and is_free(project.folder / ".flowbook")


def test_a_second_stop_shortens_the_first(project: Project) -> None:
    begun(project, "local", seconds=60.0)
    home = project.folder / ".flowbook"
    pid = launch.read_address(home).pid  # type: ignore[union-attr]
    with Client(home, start=False) as client:
        client.stop()
        eventually(lambda: client.status()["stopping"])
        assert not launch.has_ended(home, pid)
        client.stop(0.0)
    eventually(lambda: launch.has_ended(home, pid), timeout=8.0)


@pytest.mark.parametrize("grace", ["soon", "-1"])
def test_a_grace_that_makes_no_sense_stops_nothing(project: Project, grace: str) -> None:
    project("engine", "start")
    assert "not a duration" in project("engine", "stop", f"--grace={grace}", code=2).stderr
    assert project.json("engine", "status")["pid"] is not None
