"""What a run owes, while its code is stopped, dropped or cleaning up: each is taken back once, and none is forgotten."""

from __future__ import annotations

import pytest

from flowbook.core import events as e
from flowbook.runtime.definitions import step
from tests.runtime.cloud import create, obligations, turns_until, unmake, world
from tests.runtime.driver import Driver

pytestmark = pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])


@pytest.fixture(autouse=True)
def fresh() -> None:
    world.__init__()  # type: ignore[misc]


@step
def bad(after: object = None) -> None:
    raise ValueError("no")


def test_a_run_that_is_terminated_while_it_undoes_undoes_once(evict: bool) -> None:
    async def flow() -> None:
        await create.undo(unmake).map(["a", "b"])
        await bad()

    driver = Driver(flow, evict=evict)
    turns_until(driver, lambda: any(call.command.step.name == "unmake" for call in driver.execution.calls))
    driver._tell(e.TerminateRequested())
    assert isinstance(driver.run(), e.RunTerminated)
    assert world.said == ["create", "create", "unmake", "unmake"]
    assert obligations(driver)[2:] == ["undone", "undone"]
