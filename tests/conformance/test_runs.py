"""Runs: ids, time-outs, cancellation, termination, patches, attributes, what never changes."""

from __future__ import annotations

from typing import Any

import pytest

from flowbook.core import events as e
from flowbook.errors import RunConflict, RunFailed, UserError
from flowbook.testing import TestEngine
from tests.conformance import workflows as w
from tests.conformance.outside import outside

pytestmark = pytest.mark.anyio


async def test_the_same_start_is_the_same_run(env: TestEngine) -> None:
    async with env:
        first = await env.start(w.collect, 1, id="r")
        second = await env.start(w.collect, 1, id="r")
        assert first.id == second.id
        with pytest.raises(RunConflict):
            await env.start(w.collect, 2, id="r")


@pytest.mark.parametrize(("policy", "expected"), [("use_existing", "r"), ("terminate_existing", "r~2"), ("fail", None)])
async def test_an_id_that_is_open(env: TestEngine, policy: str, expected: str | None) -> None:
    async with env:
        await env.start(w.collect, 1, id="r")
        if expected is None:
            with pytest.raises(RunConflict):
                await env.start(w.collect, 1, id="r", on_conflict=policy)
        else:
            assert (await env.start(w.collect, 1, id="r", on_conflict=policy)).id == expected


@pytest.mark.parametrize(
    ("policy", "expected"), [("same", "r"), ("allow", "r~2"), ("allow_failed", "r"), ("reject", None)]
)
async def test_an_id_that_has_ended(env: TestEngine, policy: str, expected: str | None) -> None:
    async with env:
        await (await env.start(w.collect, 0, id="r")).result()
        if expected is None:
            with pytest.raises(RunConflict):
                await env.start(w.collect, 0, id="r", on_closed=policy)
        else:
            assert (await env.start(w.collect, 0, id="r", on_closed=policy)).id == expected


async def test_a_run_has_its_time(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.cleans_up, timeout="1m")
        assert await run.wait() == "failed"
        last = (run.history)[-1].event
        assert isinstance(last, e.RunFailed) and last.failure.type == "TimeoutError"
        assert outside.said == ["cleaned up"]


@pytest.mark.parametrize("limit", [0, "0s"])
async def test_no_time_is_no_time_limit(env: TestEngine, limit: float | str) -> None:
    async with env:
        with pytest.raises(UserError, match="leave it out"):
            await env.start(w.cleans_up, timeout=limit)
        run = await env.start(w.parent_with_limit, limit)
        assert await run.wait() == "failed"
        last = run.history[-1].event
        assert isinstance(last, e.RunFailed) and last.failure.type == "UserError"


@pytest.mark.parametrize("flow", [w.will_not_stop, w.goes_on_when_its_time_is_up], ids=["stays", "goes on"])
async def test_a_run_whose_code_will_not_stop_ends_when_its_time_is_up(env: TestEngine, flow: Any) -> None:
    async with env:
        begun = env.now()
        run = await env.start(flow, timeout="90s")
        assert await run.wait() == "failed"
        assert (env.now() - begun).total_seconds() < 100
        with pytest.raises(RunFailed, match="longer than its timeout of 1m30s"):
            await run.result()


async def test_the_time_of_a_run_is_for_all_it_goes_on_as(env: TestEngine) -> None:
    async with env:
        begun = env.now()
        run = await env.start(w.rounds_for_ever, timeout="150s")
        assert await run.wait() == "failed"
        assert 150 <= (env.now() - begun).total_seconds() < 155
        assert outside.said == ["round 1", "round 2", "round 3"]
        last = env.run(f"{run.id}~3")
        assert [type(recorded.event) for recorded in last.history if isinstance(recorded.event, e.CancelRequested)]


# Cancellation


async def test_a_cancelled_run_cleans_up(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.cleans_up)
        await env.idle()
        assert await run.cancel() == "queued"
        assert await run.wait() == "cancelled" and outside.said == ["cleaned up"]
        assert await run.cancel() == "already done"


async def test_tasks_that_are_left_clean_up_before_the_run_has_ended(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.leaves_tasks)
        assert await run.result() == "done"
        assert outside.said == ["done beside 2", "quick has cleaned up", "slow has cleaned up"]


async def test_a_run_may_handle_its_cancellation(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.refuses_to_stop)
        await env.idle()
        await run.cancel()
        assert await run.result() == "stayed" and outside.said == ["no"]


async def test_a_run_that_stayed_is_asked_again(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.will_not_stop)
        for number in range(1, 4):
            await env.sleep("10m")
            assert await run.cancel() == "queued"
            assert outside.said == ["no"] * number
        assert await run.result() == "left alone for an hour"


async def test_asking_again_does_not_disturb_the_clean_up(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.cleans_up_slowly)
        for _ in range(3):
            await env.sleep("10s")
            assert await run.cancel() == "queued"
        assert await run.wait() == "cancelled" and outside.said == ["cleaned up"]


async def test_a_run_cancelled_before_its_code_began(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.cleans_up)
        await run.cancel()
        assert await run.wait() == "cancelled"


@pytest.mark.parametrize("pause", [0.0, 0.1, 0.15, 1.0, 1.2, 4.9])
async def test_a_cancellation_between_two_awaits_is_not_lost(env: TestEngine, pause: float) -> None:
    async with env:
        run = await env.start(w.between_awaits)
        await env.sleep(pause)
        await run.cancel()
        assert await run.wait() == "cancelled"


async def test_a_cancellation_outlives_the_engine(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.cleans_up)
        await env.idle()
        await run.cancel()
        await env.restart_engine()
        assert await run.wait() == "cancelled" and "cleaned up" in outside.said


@pytest.mark.parametrize("end", ["cancel", "terminate"])
async def test_a_saga_is_taken_back(env: TestEngine, end: str) -> None:
    async with env:
        run = await env.start(w.compensates, False)
        await env.idle()
        await getattr(run, end)()
        assert await run.wait() == {"cancel": "cancelled", "terminate": "terminated"}[end]
        assert outside.said == ["book", "unbook"]


async def test_terminating_runs_no_clean_up_of_the_code(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.cleans_up)
        await env.idle()
        assert await run.terminate("enough") == "terminated"
        assert await run.wait() == "terminated" and outside.said == []


# What never changes, and what may


async def test_time_chance_and_records_are_the_same_whenever_the_code_runs(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.chances)
        await env.idle()
        await env.restart_worker()
        (draw, identity, first, recorded), second = await run.result()
        assert 0 <= draw < 1 and len(identity) == 36 and recorded == 1 and first < second
        assert outside.said == ["recorded"]


async def test_a_new_run_takes_the_patched_branch(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.branching)
        assert await run.result() == "new"
        assert any(isinstance(r.event, e.PatchMarked) for r in run.history)


async def test_attributes_can_be_searched(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.labelled)
        await env.idle()
        await env.sleep("30m")
        attributes = [r.event.attributes for r in run.history if isinstance(r.event, e.AttributesSet)]
        assert attributes == [{"stage": "begun", "count": 1}]
        await run.result()
