"""asyncio's and anyio's ways to wait for several things, and random programs of all of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowbook.testing import TestEngine, replay
from tests.conformance import workflows as w
from tests.conformance.outside import outside

pytestmark = pytest.mark.anyio

COMBINATIONS: dict[str, Any] = {
    "gather": ["a", "b", "c"],
    "as_completed": ["b", "c", "a"],
    "wait first": ["b"],
    "gather, one fails": ["a", "StepFailed"],
    "first of step and time": "time",
    "race of awakeable and time": "time",
    "anyio group": ["b", "a"],
    "queue": ["a", "b", "c"],
    "lock": ["a", "b", "c"],
    "semaphore": 2,
    "streams": ["a", "b"],
    "event": "set",
}


@pytest.mark.parametrize("how", COMBINATIONS)
async def test_a_combination(env: TestEngine, how: str) -> None:
    async with env:
        run = await env.start(w.combine, how)
        assert await run.result() == COMBINATIONS[how]


@pytest.mark.parametrize("how", COMBINATIONS)
async def test_a_combination_whose_worker_dies(env: TestEngine, how: str) -> None:
    async with env:
        run = await env.start(w.combine, how)
        await env.sleep(0.5)
        await env.restart_worker()
        assert await run.result() == COMBINATIONS[how]


def programs(depth: int = 2) -> st.SearchStrategy[list[Any]]:
    plain = st.one_of(
        st.tuples(st.just("step"), st.sampled_from("xyz")),
        st.tuples(st.just("sleep"), st.integers(1, 5)),
        st.tuples(st.just("fail"), st.none()),
        st.tuples(st.just("chance"), st.none()),
        st.tuples(st.just("child"), st.sampled_from("xyz")),
    )
    if not depth:
        return st.lists(plain, max_size=3)
    inner = programs(depth - 1)
    return st.lists(
        st.one_of(
            plain,
            st.tuples(st.just("together"), st.lists(inner, max_size=3)),
            st.tuples(st.just("timeout"), st.tuples(st.integers(1, 4), inner)),
        ),
        max_size=4,
    )


@given(program=programs(), breaks=st.lists(st.floats(0.1, 3.0), max_size=2), evict=st.booleans())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_random_program_sees_the_same_wherever_it_breaks(
    program: list[Any], breaks: list[float], evict: bool
) -> None:
    outside.clear()
    async with TestEngine(evict=evict) as env:
        run = await env.start(w.interpret, program, id="program")
        for pause in breaks:
            await env.sleep(pause)
            await env.restart_worker()
        seen = await run.result()
        assert replay(run.history, w.interpret) == seen
