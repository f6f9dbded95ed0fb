"""Many runs and long histories: what sleeps is in nobody's memory, and a long past is read a page at a time."""

from __future__ import annotations

import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from flowbook.client import AsyncClient
from flowbook.core.events import Place
from tests.crash.project import Project, encoded, eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def project() -> Iterator[Project]:
    """As users have it: this is about what is kept, and nothing is kept where every run is dropped at once."""
    with tempfile.TemporaryDirectory(prefix="flowbook-scale-") as folder:
        made = Project(Path(folder))
        yield made
        made.close()


SLEEPERS = 10_000
EVENTS = 100_000
PAGE = 5_000


async def _sleepers(project: Project) -> None:
    place, value = Place(str(project.folder), sys.executable), encoded(3600.0)
    room = anyio.CapacityLimiter(200)
    async with AsyncClient(project.home) as client, anyio.create_task_group() as tasks:

        async def one(number: int) -> None:
            async with room:
                await client.start(f"s{number}", "sleeper", project.module.digest, place, {"seconds": value})

        for number in range(SLEEPERS):
            tasks.start_soon(one, number)


def test_ten_thousand_sleeping_runs_are_in_no_workers_memory(project: Project) -> None:
    anyio.run(_sleepers, project)
    status = eventually(lambda: _idle(project), timeout=60.0)
    assert status["open_runs"] == SLEEPERS
    assert [worker["runs"] for worker in status["workers"]] == [0]


def _idle(project: Project) -> object:
    status = project.client.status()
    return status if status["workers"] and not any(worker["runs"] for worker in status["workers"]) else None


def test_a_history_of_a_hundred_thousand_events_is_read_in_bounded_memory(project: Project) -> None:
    project.start("long", "quick", count=EVENTS)
    project.result("long", 110.0)
    tracemalloc.start()
    try:
        seen = 0
        while page := project.client.history("long", seen, PAGE):
            assert page[0].seq == seen + 1
            seen += len(page)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen > EVENTS and peak < 40 * 1024 * 1024
