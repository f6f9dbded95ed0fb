"""Projects of their own, with the real command, engine and workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.project import Project

FLOWS = """
from flowbook import RetryPolicy, continue_as_new, saga, signal, step, workflow


@step
def large(size: int) -> str:
    return "x" * size


@step
def tail(text: str) -> int:
    return len(text)


@workflow
async def measure(size: int = 100_000):
    text = await large(size)
    return await tail(text)


@workflow
async def ask(size: int = 100_000):
    text = await large(size)
    answer = await signal("go")
    return [await tail(text), answer]


@workflow
async def family():
    try:
        return await ask.start(10)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@workflow
async def turns(left: int = 1):
    await tail("x")
    if left:
        await continue_as_new(left - 1)
    return "over"


@step
def nothing():
    return None


@step(retry=RetryPolicy(maximum_attempts=1))
def never():
    raise ValueError("it cannot be deleted")


@workflow
async def owing():
    async with saga() as made:
        await made.do(nothing, undo=never)
        raise ValueError("no")
"""


@pytest.fixture
def new_project(tmp_path: Path) -> Iterator[Callable[[str], Project]]:
    """Makes projects by name; their engines are stopped afterwards."""
    made: list[Project] = []

    def make(name: str, **environment: str) -> Project:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "flows.py").write_text(FLOWS)
        project = Project(folder)
        project.environment |= environment
        made.append(project)
        return project

    yield make
    for project in made:
        project("engine", "stop", "--now", code=None)
