"""Forks of runs that owed something outside: what was undone is made again, and taking back is never taken over."""

from __future__ import annotations

import pytest

import flowbook
from flowbook.core import events as e
from flowbook.testing import TestEngine, TestRun
from tests.conformance.outside import outside

pytestmark = pytest.mark.anyio


@flowbook.step
def make(name: str) -> str:
    outside.say(f"make {name}")
    return f"vm-{name}"


@flowbook.step
def delete(vm: str) -> None:
    outside.say(f"delete {vm}")


@flowbook.step
def is_up(vm: str) -> bool:
    outside.say("poll")
    return vm != "vm-slow"


@flowbook.step
def is_gone(vm: str) -> bool:
    outside.say("confirm")
    return outside.said.count("confirm") % 2 == 0


@flowbook.step(retry=1)
def charge(vm: str) -> str:
    outside.say("charge")
    if outside.said.count("charge") == 1:
        raise ValueError("declined")
    return vm


@flowbook.workflow
async def block() -> str:
    async with flowbook.saga() as s:
        vm = await s.do(make, "a", undo=delete)
        return await charge(vm)


@flowbook.workflow
async def page() -> str:
    made = make.undo(delete).start("a")
    return await charge.start(made)


@flowbook.workflow
async def started(name: str) -> str:
    return await flowbook.operation(make, name, poll=is_up, every="10s", timeout="1m", cancel=delete, confirm=is_gone)


@flowbook.workflow
async def cleared() -> str:
    async with flowbook.saga() as s:
        vm = await s.do(make, "a", undo=delete)
        vm = await charge(vm)
    await delete(vm)
    return vm


def told(run: TestRun) -> list[str]:
    """The outcome of each step and of what was owed."""
    words = []
    for recorded in run.history:
        match recorded.event:
            case e.StepCompleted(step=step):
                words.append(step)
            case e.StepReused(step=step):
                words.append(f"{step} (reused)")
            case e.ObligationSettled(outcome=outcome):
                words.append(outcome)
    return words


@pytest.mark.parametrize("flow", [block, page])
async def test_what_was_undone_is_made_again(env: TestEngine, flow: flowbook.Workflow[[], str]) -> None:
    async with env:
        run = await env.start(flow)
        assert await run.wait() == "failed" and outside.said == ["make a", "charge", "delete vm-a"]
        fork = await run.fork(rerun=["charge"])
        assert await fork.result() == "vm-a"
        assert told(fork) == ["make", "charge", "kept"]


@pytest.mark.parametrize("flow", [block, page])
async def test_an_undo_is_called_and_not_taken_over(env: TestEngine, flow: flowbook.Workflow[[], str]) -> None:
    async with env:
        run = await env.start(flow)
        assert await run.wait() == "failed"
        outside.said.clear()
        assert await (await run.fork(rerun=["make"])).wait() == "failed"
        assert outside.said == ["make a", "charge", "delete vm-a"]


async def test_a_cancel_and_its_confirmation_are_asked_again(env: TestEngine) -> None:
    async with env:
        run = await env.start(started, "slow")
        assert await run.wait() == "failed"
        made = next(r.seq for r in run.history if isinstance(r.event, e.StepCompleted))
        outside.said.clear()
        fork = await run.fork(at=made)
        assert await fork.wait() == "failed"
        said = [word for word in outside.said if word != "poll"]
        assert said == ["make slow", "delete vm-slow", "confirm", "confirm"]


async def test_the_wait_for_a_confirmation_is_waited_for_again(env: TestEngine) -> None:
    async with env:
        run = await env.start(started, "slow")
        assert await run.wait() == "failed"
        fork = await run.fork(rerun=["make"])
        assert await fork.wait() == "failed"
        first = next(r.time for r in fork.history if isinstance(r.event, e.StepCompleted) and r.event.step == "is_gone")
        assert fork.history[-1].time - first == 10.0


async def test_what_was_polled_is_polled_again_where_it_is_started_again(env: TestEngine) -> None:
    async with env:
        run = await env.start(started, "a")
        assert await run.result() == "vm-a"
        same = await run.fork()
        assert await same.result() == "vm-a" and told(same) == ["make (reused)", "is_up (reused)", "kept"]
        again = await run.fork(rerun=["make"])
        assert await again.result() == "vm-a" and told(again) == ["make", "is_up", "kept"]


async def test_an_undo_is_no_result_for_code_that_does_the_same_itself(env: TestEngine) -> None:
    async with env:
        run = await env.start(cleared)
        assert await run.wait() == "failed"
        fork = await run.fork()
        assert await fork.result() == "vm-a"
        assert told(fork) == ["make", "charge", "kept", "delete"]
        assert told(await fork.fork()) == ["make (reused)", "charge (reused)", "kept", "delete (reused)"]
