"""Many runs and long histories: what sleeps is in nobody's memory, and a long past is read a page at a time."""

from __future__ import annotations

import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from flowbook.client import AsyncClient, many_asks
from flowbook.client.launch import has_ended
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
    project.start("first", "sleeper", seconds=3600.0)
    (worker,) = eventually(project.worker_pids)
    eventually(lambda: _idle(project))
    before = memory(worker)
    anyio.run(_sleepers, project)
    status = eventually(lambda: _idle(project), timeout=60.0)
    assert status["open_runs"] == SLEEPERS + 1
    assert [(each["pid"], each["runs"]) for each in status["workers"]] == [(worker, 0)]
    # What the engine counts, the process itself has to show. A run that is held takes 16 KiB and more; what is left is
    # what the allocator keeps of the moment when most runs were on their way.
    assert memory(worker) - before < SLEEPERS * 10 * 1024


def _idle(project: Project) -> object:
    status = project.client.status()
    return status if status["workers"] and not any(worker["runs"] for worker in status["workers"]) else None


def memory(pid: int) -> int:
    """Bytes of a process that are in memory."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


def test_the_engine_reads_a_long_history_by_the_page_too(project: Project) -> None:
    project.start("long", "quick", count=EVENTS)
    project.result("long", 110.0)
    first = project.engine_pid()
    project.client.stop()
    eventually(lambda: has_ended(project.home, first))
    engine = project.engine_pid()
    # What DuckDB needs to read at all is not the history's.
    project.client.history("long", EVENTS, 10)
    project.client.ask(many_asks.runs(["true"], 10, "", 60.0))
    before = memory(engine)
    seen = 0
    while page := project.client.history("long", seen, 1000):
        seen += len(page)
    assert seen > EVENTS
    assert [run["seq"] for run in project.client.ask(many_asks.runs(["true"], 10, "", 60.0))] == [seen]
    assert project.client.run("long")["seq"] == seen
    assert memory(engine) - before < EVENTS * 200


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
