"""Steps: attempts, time-outs, cancellation, results from outside."""

from __future__ import annotations

import pytest

from flowbook.core import events as e
from flowbook.errors import UserError
from flowbook.testing import TestEngine
from tests.conformance import workflows as w
from tests.conformance.outside import outside

pytestmark = pytest.mark.anyio


async def test_a_step_is_tried_again_with_back_off(env: TestEngine) -> None:
    async with env:
        outside.fail("x", 2)
        begun = env.now()
        run = await env.start(w.try_shaky, "x")
        assert await run.result() == "x" and outside.said == ["x"] * 3
        assert 3.0 <= (env.now() - begun).total_seconds() < 4.0


async def test_a_step_out_of_attempts_fails_the_run_that_does_not_care(env: TestEngine) -> None:
    async with env:
        outside.fail("x", 9)
        run = await env.start(w.try_shaky, "x")
        assert await run.wait() == "failed" and outside.said == ["x"] * 3
        last = (run.history)[-1].event
        assert isinstance(last, e.RunFailed) and (last.step, last.failure.type) == ("shaky", "ConnectionError")


async def test_an_error_that_is_not_to_be_retried_is_not(env: TestEngine) -> None:
    async with env:
        assert "no use" in await (await env.start(w.try_hopeless)).result()
        assert outside.said == ["hopeless"]


async def test_an_attempt_has_its_time(env: TestEngine) -> None:
    async with env:
        begun = env.now()
        assert await (await env.start(w.try_late)).result() == "timed out"
        assert outside.said == ["late", "late"] and 10.0 <= (env.now() - begun).total_seconds() < 20.0


async def test_an_attempt_knows_what_it_is(env: TestEngine) -> None:
    async with env:
        outside.fail("context", 1)
        run = await env.start(w.context_of_a_step)
        attempt, key, own, workflow = await run.result()
        assert (attempt, own, workflow) == (2, run.id, "context_of_a_step") and key


async def test_finished_steps_are_not_repeated_when_worker_or_engine_die(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.combine, "lock")
        await env.sleep(1.5)
        await env.restart_worker()
        await env.sleep(1.0)
        await env.restart_engine()
        assert await run.result() == ["a", "b", "c"]
        assert outside.said.count("end a") == 1


async def test_a_step_that_runs_at_most_once(env: TestEngine) -> None:
    async with env:
        assert await (await env.start(w.try_pay)).result() == "rent"
        assert outside.said == ["pay rent"]


@pytest.mark.parametrize("how", ["task", "timeout", "wait_for", "anyio", "group"])
async def test_cancelling_a_running_step(env: TestEngine, how: str) -> None:
    async with env:
        begun = env.now()
        run = await env.start(w.cancel_a_step, how)
        assert await run.result() == "cancelled"
        await env.sleep(1.0)
        assert outside.said == ["begin it", "cancelled it"]
        assert (env.now() - begun).total_seconds() < 10.0


async def test_a_step_finished_from_outside(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.outside_step, "ann")
        await env.idle()
        await env.restart_worker()
        await env.complete(outside.tokens["ann"], {"yes": True})
        assert await run.result() == {"yes": True}
        with pytest.raises(UserError):
            await env.complete(outside.tokens["ann"], "again")


async def test_a_step_failed_from_outside(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.outside_step, "bob")
        await env.idle()
        await env.fail(outside.tokens["bob"], "bob says no")
        assert await run.result() == "StepFailed"


async def test_nobody_finishes_it_in_time(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.outside_step, "eve")
        assert await run.result() == "StepFailed"


async def test_a_promise_is_kept_from_outside(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.promise)
        await env.idle()
        await env.complete(outside.tokens["promise"], 5)
        assert await run.result() == 5
