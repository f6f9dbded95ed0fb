"""Child workflows."""

from __future__ import annotations

import pytest

from flowbook.core import events as e
from flowbook.testing import TestEngine
from tests.conformance import workflows as w
from tests.conformance.outside import outside

pytestmark = pytest.mark.anyio


async def test_a_childs_result_is_the_calls(env: TestEngine) -> None:
    async with env:
        assert await (await env.start(w.parent, "x")).result() == "parent of child x"
        assert outside.said == ["child x"]


async def test_children_run_side_by_side(env: TestEngine) -> None:
    async with env:
        begun = env.now()
        run = await env.start(w.parent_of_many, 5)
        assert await run.result() == [f"child {number}" for number in range(5)]
        assert (env.now() - begun).total_seconds() < 9.0


async def test_a_failed_child_raises_what_it_raised(env: TestEngine) -> None:
    async with env:
        text = await (await env.start(w.parent_of_failure)).result()
        assert "inside" in text


async def test_a_child_is_cancelled_and_cleans_up(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.parent_that_cancels)
        assert await run.result() == "cancelled"
        assert await env.run("the-child").wait() == "cancelled"
        assert outside.said == ["child c cancelled"]


async def test_a_parent_signals_its_child(env: TestEngine) -> None:
    async with env:
        assert await (await env.start(w.parent_that_signals)).result() == 42


@pytest.mark.parametrize(
    ("close", "status"), [("cancel", "cancelled"), ("terminate", "terminated"), ("abandon", "succeeded")]
)
async def test_what_becomes_of_a_child_when_its_parent_ends(env: TestEngine, close: str, status: str) -> None:
    async with env:
        assert await (await env.start(w.parent_that_ends, close)).result() == "done"
        assert await env.run(f"left-{close}").wait() == status


@pytest.mark.parametrize(
    ("close", "status"), [("cancel", "cancelled"), ("terminate", "terminated"), ("abandon", "succeeded")]
)
async def test_what_becomes_of_a_child_when_its_parent_is_terminated(env: TestEngine, close: str, status: str) -> None:
    async with env:
        run = await env.start(w.parent_that_owes, close)
        await env.sleep("1s")
        assert await run.terminate() == "queued"
        assert await run.wait() == "terminated" and "unowed" in outside.said
        assert await env.run(f"left-{close}").wait() == status


async def test_a_child_lives_as_long_as_its_parents_chain(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.supervisor, 2)
        await env.sleep(2.5)
        assert env.run("kept").status == "waiting" and run.status == "continued"
        assert await run.result() == "done"
        assert await env.run("kept").wait() == "cancelled" and outside.said == ["child kept cancelled"]


async def test_a_cancelled_parent_cancels_its_child(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.parent_that_cancels)
        await env.sleep(0.5)
        await run.cancel()
        assert await run.wait() == "cancelled"
        assert await env.run("the-child").wait() == "cancelled"


async def test_a_child_outlives_the_worker_and_the_engine(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.parent_of_many, 4)
        await env.sleep(1.5)
        await env.restart_worker()
        await env.restart_engine()
        assert await run.result() == [f"child {number}" for number in range(4)]
        assert sorted(outside.said) == [f"child {number}" for number in range(4)]


async def test_a_child_whose_id_is_taken_is_an_error_in_its_parent(env: TestEngine) -> None:
    async with env:
        await env.start(w.collect, 1, id="asked")
        run = await env.start(w.parent_that_signals)
        assert await run.wait() == "failed"
        failed = (run.history)[-1].event
        assert isinstance(failed, e.RunFailed) and "asked" in failed.failure.message
