"""Whatever became of a run since: what takes a call back is given the idempotency key that the call was made with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import flowbook
from flowbook.client import asks, history_asks
from flowbook.core import events as e
from flowbook.testing import TestEngine, TestRun
from tests.conformance.outside import outside

pytestmark = pytest.mark.anyio


@flowbook.step
def make(name: str) -> str:
    key = flowbook.step_context().idempotency_key
    outside.say("make")
    outside.tokens[key] = name
    outside.try_to("answer")
    return f"vm-{name}"


@flowbook.step(retry=1)
def delete(vm: str | None = None, *, idempotency_key: str) -> None:
    outside.try_to("delete")
    outside.tokens.pop(idempotency_key, None)


@flowbook.step
def is_up(vm: str) -> bool:
    return False


@flowbook.step
def grow(size: int) -> int:
    outside.tokens[flowbook.step_context().idempotency_key] = "bigger"
    outside.try_to("answer")
    return size + 1


@flowbook.workflow
async def started() -> str:
    return await flowbook.operation(make, "a", poll=is_up, every="10s", timeout="1m", cancel=delete)


@flowbook.workflow
async def block() -> None:
    async with flowbook.saga() as s:
        await s.do(make, "a", undo=delete)
        await flowbook.sleep("1m")
        raise ValueError("no")


@flowbook.workflow
async def page() -> None:
    await make.undo(delete).start("a")
    await flowbook.sleep("1m")
    raise ValueError("no")


@flowbook.workflow
async def grown() -> int:
    return await grow.until(lambda size: size > 2, every="1s").undo(delete).start(0)


FLOWS = pytest.mark.parametrize("flow", [started, block, page])


async def copied(env: TestEngine, run: TestRun, folder: Path) -> TestRun:
    """The run, taken out and in again with another id."""
    path = str(folder / "run.flowrun")
    env._do(env._client._ask(history_asks.export_run(run.id, path)))
    env._do(env._client._ask(history_asks.import_run(path, env._world_now.place, f"{run.id}-copy")))
    return env.run(f"{run.id}-copy")


async def tried_again(env: TestEngine, run: TestRun) -> str:
    """Have what the run owes taken back once more; how that ended."""
    summary = env._do(env._client._ask(asks.retry_obligation(run.id, "")))
    return await env.run(summary["obligations"][0]["trying"]).wait()


@FLOWS
async def test_of_a_fork_and_its_fork_it_is_that_of_the_run_that_made_the_call(
    env: TestEngine, flow: flowbook.Workflow[[], object]
) -> None:
    async with env:
        run = await env.start(flow)
        await env.sleep(15)
        fork = await (await run.fork()).fork()
        await run.terminate(now=True)
        assert outside.said.count("make") == 1 and len(outside.tokens) == 1
        assert await fork.wait() == "failed"
        assert not outside.tokens


@FLOWS
async def test_what_a_fork_still_owes_is_taken_back_with_it_as_well(
    env: TestEngine, flow: flowbook.Workflow[[], object]
) -> None:
    async with env:
        run = await env.start(flow)
        await env.sleep(15)
        fork = await run.fork()
        await run.terminate(now=True)
        outside.fail("delete", 1)
        assert await fork.wait() == "failed" and len(outside.tokens) == 1
        assert await tried_again(env, fork) == "succeeded"
        assert not outside.tokens


@FLOWS
async def test_an_imported_run_has_the_keys_that_it_had(
    env: TestEngine, flow: flowbook.Workflow[[], object], tmp_path: Path
) -> None:
    async with env:
        run = await env.start(flow)
        await env.sleep(15)
        copy = await copied(env, run, tmp_path)
        await run.terminate(now=True)
        await copy.cancel()
        assert await copy.wait() == "cancelled"
        assert not outside.tokens


@FLOWS
async def test_what_an_imported_run_owes_is_taken_back_with_them(
    env: TestEngine, flow: flowbook.Workflow[[], object], tmp_path: Path
) -> None:
    async with env:
        outside.fail("delete", 1)
        run = await env.start(flow)
        assert await run.wait() == "failed"
        copy = await copied(env, run, tmp_path)
        assert await tried_again(env, copy) == "succeeded"
        assert not outside.tokens


AGAIN = flowbook.RetryPolicy(initial_interval=60.0, maximum_attempts=2)


@flowbook.step(retry=AGAIN)
def here(name: str) -> str:
    return make.function(name)


@flowbook.step(retry=AGAIN, queue="others")
def elsewhere(name: str) -> str:
    return make.function(name)


@flowbook.workflow
async def retried(queued: bool) -> str:
    return await (elsewhere if queued else here)("a")


@pytest.mark.parametrize("queued", [False, True])
async def test_a_call_that_is_made_again_in_an_imported_run_has_its_key_again(
    env: TestEngine, queued: bool, tmp_path: Path
) -> None:
    async with env:
        outside.fail("answer", 1)
        run = await env.start(retried, queued)
        copy = await copied(env, run, tmp_path)
        await run.terminate()
        env._do(env._client.resume(copy.id))
        assert await copy.result() == "vm-a"
        assert outside.said.count("make") == 2 and len(outside.tokens) == 1


@pytest.mark.parametrize("fails", [0, 1])
async def test_of_rounds_it_is_that_of_the_last_one(env: TestEngine, fails: int) -> None:
    """Also when it is tried again, which nothing but what it was tried with tells."""
    async with env:
        outside.fail("answer", 1)
        outside.fail("delete", fails)
        run = await env.start(grown)
        assert await run.wait() == "failed" and len(outside.tokens) == fails
        if fails:
            assert await tried_again(env, run) == "succeeded"
        assert not outside.tokens


async def test_where_it_is_not_known_nothing_is_deleted_in_its_place(env: TestEngine) -> None:
    async with env:
        outside.fail("answer", 1)
        run = await env.start(slowly)
        await env.sleep(5)
        await run.terminate(now=True)
        assert await tried_again(env, run) == "failed"
        failure = next(r.event.failure for r in run.history if isinstance(r.event, e.ObligationFailed))
        assert failure.message == "'delete_all' needs what 'wait' returned, or its idempotency_key, which is not known"


@flowbook.step(retry=1)
async def wait(size: int) -> int:
    await flowbook.sleep(100)
    return size


@flowbook.step
def delete_all(*, idempotency_key: str) -> None:
    raise AssertionError("with no key, it would delete what it is not to")


@flowbook.workflow
async def slowly() -> None:
    await wait.until(lambda size: size > 2, every="1s").undo(delete_all).start(0)


async def _operation() -> None:
    await flowbook.operation(make, "a", poll=is_up, every="1ms", timeout="10ms", cancel=delete)


async def _saga() -> None:
    async with flowbook.saga() as s:
        await s.do(make, "a", undo=delete)
        raise ValueError("no")


@pytest.mark.parametrize("plain", [_operation, _saga])
async def test_outside_a_run_it_is_that_of_the_call_as_well(plain: Callable[[], Awaitable[None]]) -> None:
    outside.clear()
    with pytest.raises((TimeoutError, ValueError)):
        await plain()
    assert outside.said.count("make") == 1 and not outside.tokens
