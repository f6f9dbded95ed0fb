"""The engine for tests: time that jumps, fakes for steps, and what a test is told when it waits for ever."""

from __future__ import annotations

import asyncio
import datetime
import time

import anyio
import pytest

import flowbook
from flowbook.errors import RunCancelled, RunFailed, RunWaits, UserError
from flowbook.testing import TestEngine

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


charged: list[float] = []


@flowbook.step(retry=3)
def charge(amount: float) -> str:
    charged.append(amount)
    return f"paid {amount}"


@flowbook.step
async def ship(order: str) -> str:
    await asyncio.sleep(3600)
    return f"shipped {order}"


@flowbook.workflow
async def order(name: str, amount: float) -> dict[str, object]:
    paid = await charge(amount)
    await flowbook.sleep("2h")
    try:
        approved = await flowbook.signal("approval", timeout="24h")
    except TimeoutError:
        approved = None
    return {"paid": paid, "approved": approved, "shipped": await ship(name), "at": str(flowbook.now())}


@flowbook.workflow
async def refund(amount: float) -> str:
    return await charge(-amount)


@flowbook.workflow
async def waiting() -> str:
    return await flowbook.signal("never")


@pytest.mark.parametrize("evict", [False, True])
async def test_two_days_pass_in_no_time(evict: bool) -> None:
    before = time.perf_counter()
    async with TestEngine(evict=evict) as env:
        run = await env.start(order, "book", 10.0)
        result = await run.result()
        assert env.now() == datetime.datetime(2025, 1, 2, 3, 0, tzinfo=datetime.UTC)
    assert result["approved"] is None and result["shipped"] == "shipped book"
    assert time.perf_counter() - before < 5


async def test_a_signal_is_acted_on_when_it_has_been_sent() -> None:
    async with TestEngine() as env:
        run = await env.start(order, "book", 10.0, id="o1")
        await env.sleep("3h")
        assert run.status == "waiting"
        await run.signal("approval", "yes")
        assert run.status == "running"
        assert (await run.result())["approved"] == "yes"
        assert type(run.history[-1].event).__name__ == "RunCompleted"


async def test_fakes_stand_in_for_steps_and_the_real_ones_come_back() -> None:
    charged.clear()
    calls: list[float] = []

    async def fake(amount: float) -> str:
        calls.append(amount)
        if len(calls) < 3:
            raise ValueError("declined")
        return "fake"

    async with TestEngine(steps={charge: fake}) as env:
        assert await (await env.start(refund, 5.0)).result() == "fake"
    async with TestEngine(steps={"charge": lambda amount: "by name"}) as env:
        assert await (await env.start(refund, 5.0)).result() == "by name"
    assert calls == [-5.0] * 3 and not charged
    assert charge(1.0) == "paid 1.0"


async def test_waiting_for_what_never_comes_is_said_and_can_be_mended() -> None:
    async with TestEngine() as env:
        run = await env.start(waiting)
        with pytest.raises(RunWaits, match="signal 'never'"):
            await run.result()
        await run.signal("never", "after all")
        assert await run.result() == "after all"


async def test_failures_and_cancellation_are_raised() -> None:
    def declined(amount: float) -> str:
        raise ValueError("declined")

    async with TestEngine(steps={charge: declined}) as env:
        with pytest.raises(RunFailed, match="step 'charge': ValueError: declined"):
            await (await env.start(refund, 5.0)).result()
        run = await env.start(waiting)
        await run.cancel("no more")
        with pytest.raises(RunCancelled):
            await run.result()


async def test_wrong_arguments_and_a_closed_engine_are_said() -> None:
    env = TestEngine()
    with pytest.raises(UserError, match="async with"):
        await env.start(waiting)
    async with env:
        with pytest.raises(UserError, match="refund"):
            await env.start(refund)


def test_it_needs_no_running_loop() -> None:
    async def inside() -> str:
        with TestEngine() as env:
            return await (await env.start(refund, 1.0)).result()

    assert anyio.run(inside) == asyncio.run(inside()) == "paid -1.0"


async def test_two_runs_of_the_same_test_are_the_same() -> None:
    histories = []
    for _ in range(2):
        async with TestEngine(seed=3) as env:
            run = await env.start(order, "book", 10.0, id="same")
            await run.result()
            histories.append([(r.seq, r.time, type(r.event)) for r in run.history])
    assert histories[0] == histories[1]
