"""Forks: what is taken over, what is done again, and that the origin does not notice."""

from __future__ import annotations

import pytest

from flowbook.core import events as e
from flowbook.testing import TestEngine, TestRun
from tests.conformance import workflows as w
from tests.conformance.outside import outside

pytestmark = pytest.mark.anyio


def kinds(run: TestRun) -> list[str]:
    return [type(recorded.event).__name__ for recorded in run.history]


async def test_a_fork_at_the_end_repeats_nothing(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.combine, "gather")
        expected = await run.result()
        said = list(outside.said)
        fork = await run.fork()
        assert await fork.result() == expected and outside.said == said
        assert kinds(fork).count("StepReused") == 3


async def test_a_fork_runs_the_named_step_again_and_takes_the_others(env: TestEngine) -> None:
    async with env:
        outside.fail("x", 9)
        run = await env.start(w.try_shaky, "x")
        assert await run.wait() == "failed"
        outside.clear()
        fork = await run.fork(rerun=("shaky",))
        assert await fork.result() == "x"


async def test_a_fork_in_the_middle_does_the_rest(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.combine, "lock")
        await run.result()
        first = next(r.seq for r in run.history if isinstance(r.event, e.StepCompleted))
        outside.clear()
        fork = await run.fork(at=first)
        assert await fork.result() == ["a", "b", "c"]
        assert [word for word in outside.said if word.startswith("begin")] == ["begin b", "begin c"]


async def test_signals_are_taken_over(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.collect, 2)
        await run.signal("item", 1)
        await run.signal("item", 2)
        await run.result()
        assert await (await run.fork()).result() == [1, 2]


async def test_many_forks_of_one_run_leave_it_as_it_was(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.chances)
        expected = await run.result()
        before = run.history
        forks = [await run.fork() for _ in range(3)]
        for fork in forks:
            assert (await fork.result())[0][:2] == expected[0][:2]
        assert len({fork.id for fork in forks}) == 3 and run.history == before


async def test_a_fork_of_a_fork(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.combine, "gather")
        expected = await run.result()
        fork = await (await run.fork()).fork()
        assert await fork.result() == expected


async def test_a_fork_takes_the_results_of_children_over(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.parent_of_many, 2)
        expected = await run.result()
        said = list(outside.said)
        assert await (await run.fork()).result() == expected and outside.said == said
