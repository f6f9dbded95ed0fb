"""Workflow code that keeps its worker's loop from turning: named, paused, and nobody else's trouble."""

from __future__ import annotations

import hashlib
import sys

import pytest

from flowbook.core import events as e
from flowbook.core.events import Place
from flowbook.core.ids import Digest
from flowbook.core.module import Module, Workflow
from tests.crash.project import Project, eventually

pytestmark = [pytest.mark.crash, pytest.mark.slow]

SOURCE = """
import asyncio
import threading
import time

from flowbook import step
from flowbook.runtime.definitions import Workflow


async def spinning():
    await asyncio.sleep(0.1)
    while True:
        pass


async def sleeping():
    await asyncio.sleep(0.1)
    threading.Event().wait(600)


@step
async def heavy():
    await asyncio.sleep(0)
    time.sleep(2.5)
    return 1


async def with_heavy_step():
    return await heavy()


async def other(seconds: float):
    await asyncio.sleep(seconds)
    return "fine"


spinning, sleeping, with_heavy_step, other = map(Workflow, (spinning, sleeping, with_heavy_step, other))
"""


@pytest.fixture(autouse=True)
def short_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWBOOK_BLOCK_BUDGET", "1")


@pytest.fixture
def module(short_budget: None, project: Project) -> Module:
    digest = Digest(hashlib.blake2b(SOURCE.encode(), digest_size=16).hexdigest())
    names = ("spinning", "sleeping", "with_heavy_step", "other")
    made = Module(digest, "blocking", SOURCE, tuple(Workflow(name) for name in names))
    project.client.put_module(made)
    return made


def start(project: Project, module: Module, run: str, workflow: str, **arguments: float) -> None:
    from tests.crash.project import encoded

    values = {name: encoded(value) for name, value in arguments.items()}
    project.client.start(run, workflow, module.digest, Place(str(project.folder), sys.executable), values)


@pytest.mark.parametrize(
    ("workflow", "line"), [("spinning", "while True"), ("sleeping", "threading.Event().wait(600)")]
)
def test_code_that_blocks_is_paused_with_its_line_and_others_go_on(
    project: Project, module: Module, workflow: str, line: str
) -> None:
    start(project, module, "bad", workflow)
    start(project, module, "good", "other", seconds=2.0)
    summary = project.client.wait("bad", 60.0)
    assert summary["status"] == "paused" and "kept its worker busy" in summary["reason"], summary
    assert line in summary["reason"] or "pass" in summary["reason"]
    assert project.result("good") == "fine"


def test_an_asynchronous_step_that_blocks_is_told_so_in_its_log(project: Project, module: Module) -> None:
    start(project, module, "r", "with_heavy_step")
    assert project.result("r") == 1

    def logged() -> str:
        outputs = (getattr(r.event, "output", ()) for r in project.history("r") if isinstance(r.event, e.Event))
        return "".join(chunk.text for output in outputs for chunk in output if chunk.stream == "log")

    assert "Make it a plain def" in eventually(logged)
