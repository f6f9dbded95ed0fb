"""Projects of their own, with the real command, engine and workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.project import Project

FLOWS = """
from flowbook import signal, step, workflow


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
