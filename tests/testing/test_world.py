"""The virtual world leaves nothing of itself in the real one."""

from __future__ import annotations

import os
import threading
import time
import uuid

import pytest

import flowbook
from flowbook.testing import TestEngine

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@flowbook.step
def look() -> list[float]:
    return [time.time(), time.monotonic()]


@flowbook.workflow
async def looking() -> list[float]:
    await flowbook.sleep("1h")
    return await look()


async def test_steps_see_the_virtual_clock_and_the_test_sees_the_real_one() -> None:
    before = time.time()
    async with TestEngine() as env:
        seen = await (await env.start(looking)).result()
        assert seen[0] == seen[1] == env.now().timestamp()
        assert before <= time.time() < before + 60
        drawn = {uuid.uuid4() for _ in range(3)}
    assert len(drawn) == 3 and os.getpid() < 2**30


async def test_no_thread_outlives_an_engine_and_none_watches_the_test() -> None:
    before = threading.active_count()
    for _ in range(3):
        async with TestEngine() as env:
            await (await env.start(looking)).result()
            assert threading.active_count() == before
    assert threading.active_count() == before
