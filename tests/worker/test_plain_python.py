"""Plain clocks and chance in workflow code are durable; what reaches outside is refused; steps and all else see the
world.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import os
import pathlib
import random
import secrets
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from typing import Any

import pytest

import flowbook
from flowbook.errors import RunFailed
from flowbook.testing import TestEngine, replay

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@flowbook.step
async def told(*what: Any) -> list[Any]:
    return list(what)


async def run(work: Any, evict: bool) -> tuple[Any, list[Any]]:
    async with TestEngine(evict=evict) as env:
        found = await env.start(work, id="run")
        return await found.result(), found.history


DRAWS = {
    "random": lambda: random.random(),
    "randint": lambda: random.randint(1, 10**9),
    "choice": lambda: random.choice(range(10**9)),
    "shuffle": lambda: random.sample(range(100), 100),
    "gauss": lambda: random.gauss(0, 1),
    "uuid": lambda: str(uuid.uuid4()),
    "a generator without a seed": lambda: random.Random().random(),
    "a generator with one": lambda: random.Random(5).random(),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
async def test_chance_is_the_same_again(draw: Any) -> None:
    async def work() -> list[Any]:
        first = draw()
        await told(1)
        second = draw()
        await asyncio.sleep(1)
        return await told(first, second)

    held, history = await run(work, evict=False)
    assert held == (await run(work, evict=True))[0] == replay(history, work)


async def test_streams_differ_from_run_to_run_and_from_statement_to_statement() -> None:
    async def work() -> list[float]:
        first = random.random()
        second = random.random()
        return await told(first, second, [random.random() for _ in range(3)])

    async with TestEngine() as env:
        seen = [await (await env.start(work)).result() for _ in range(3)]
    assert len({str(draws) for draws in seen}) == 3
    first, second, more = seen[0]
    assert len({first, second, *more}) == 5


@pytest.mark.parametrize("evict", [False, True])
async def test_clocks_tell_the_time_of_the_run(evict: bool) -> None:
    async def work() -> list[Any]:
        begun, monotonic, counted = time.time(), time.monotonic(), time.perf_counter_ns()
        await asyncio.sleep(3600)
        passed = [time.time() - begun, time.monotonic() - monotonic, (time.perf_counter_ns() - counted) / 1e9]
        year = time.gmtime().tm_year, time.strftime("%Y")
        return [*(round(each, 3) for each in passed), *year, time.gmtime(0).tm_year]

    assert (await run(work, evict))[0] == [3600.0, 3600.0, 3600.0, 2025, "2025", 1970]


REFUSED = {
    "asyncio.sleep": lambda: time.sleep(0.001),
    "asyncio.to_thread": lambda: threading.Thread(target=print).start(),
    "in a step": lambda: concurrent.futures.ThreadPoolExecutor().submit(print),
    "open": lambda: open("/tmp/x", "w").close(),
    "read and write": lambda: pathlib.Path("/etc/hostname").read_text(),
    "step": lambda: tempfile.mkdtemp(),
    "network IO": lambda: socket.create_connection(("127.0.0.1", 9)),
    "network": lambda: socket.getaddrinfo("localhost", 80),
    "processes": lambda: subprocess.run(["true"], check=True),
    "os.system": lambda: os.system("true"),
    "record": lambda: os.urandom(4),
    "record()": lambda: secrets.token_hex(4),
    "random.Random(42)": lambda: random.seed(1),
    "uuid4": lambda: uuid.uuid1(),
    "signal()": lambda: input(),
}


@pytest.mark.parametrize("reach", REFUSED.values(), ids=REFUSED)
async def test_what_reaches_outside_is_refused_with_what_to_do(reach: Any) -> None:
    async def work() -> None:
        await told(1)
        reach()

    with pytest.raises(RunFailed, match=r"NotDeterministic: .*cannot be re-executed inside a workflow; \w+"):
        await run(work, evict=False)


async def test_what_python_and_flowbook_read_for_the_code_is_no_such_thing() -> None:
    async def work() -> list[Any]:
        import colorsys
        import zoneinfo

        zone = datetime.datetime(2025, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Oslo")).utcoffset()
        big = await told("x" * 100_000)
        return [colorsys.__name__, zone.total_seconds() if zone else 0, len(big[0])]

    assert (await run(work, evict=True))[0] == ["colorsys", 7200.0, 100_000]


async def test_steps_see_the_world() -> None:
    @flowbook.step
    async def reaches() -> list[Any]:
        return [pathlib.Path(os.devnull).read_text(), len(os.urandom(3)), random.random() != random.random()]

    async def work() -> list[Any]:
        return await reaches()

    assert (await run(work, evict=False))[0] == ["", 3, True]


def test_elsewhere_everything_is_as_ever(tmp_path: pathlib.Path) -> None:
    random.seed(1)
    first = random.random()
    random.seed(1)
    assert random.random() == first
    assert abs(time.time() - datetime.datetime.now().timestamp()) < 5
    (tmp_path / "x").write_text("x")
    thread = threading.Thread(target=(tmp_path / "x").unlink)
    thread.start()
    thread.join()
    assert uuid.uuid4() != uuid.uuid4() and len(os.urandom(4)) == 4
