"""What undos, cancels and confirms are given of the step that they take back, at once and in a run of their own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flowbook.core import events as e
from flowbook.errors import UserError
from flowbook.runtime.definitions import Step, Workflow, step
from flowbook.runtime.operation import operation
from flowbook.runtime.saga import saga
from flowbook.runtime.taking_back import taking_back
from tests.runtime.cloud import create, delete, obligations, ready, world
from tests.runtime.driver import Driver

pytestmark = pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])


@pytest.fixture(autouse=True)
def fresh() -> None:
    world.__init__()  # type: ignore[misc]


@step
def make(name: str, region: str = "us") -> str:
    return f"vm-{name}"


@step
def make_all(*names: str) -> list[str]:
    return list(names)


@step
def remove(vm: str, region: str = "eu") -> None:
    world.say(f"remove {vm} in {region}")


@step
def unlink(*paths: str) -> None:
    world.say(f"unlink {' '.join(paths)}")


@step
def never(vm: str) -> bool:
    return False


def test_what_is_optional_for_an_undo_is_the_steps_argument_all_the_same(evict: bool) -> None:
    async def in_saga() -> None:
        async with saga() as s:
            await s.do(make, "a", region="asia", undo=remove)
            raise ValueError("no")

    async def in_dataflow() -> None:
        await make.undo(remove).start("a", "asia")
        raise ValueError("no")

    async def in_operation() -> None:
        await operation(make, "a", "asia", poll=never, cancel=remove, timeout="5s")

    for flow in (in_saga, in_dataflow, in_operation):
        assert isinstance(Driver(flow, evict=evict).run(), e.RunFailed)
    assert world.said == ["remove vm-a in asia"] * 3


def test_what_was_left_to_its_default_is_left_to_the_undos(evict: bool) -> None:
    async def flow() -> None:
        async with saga() as s:
            await s.do(make, "a", undo=remove)
            raise ValueError("no")

    Driver(flow, evict=evict).run()
    assert world.said == ["remove vm-a in eu"]


def test_an_undo_that_needs_what_was_left_to_its_default_is_refused_and_says_so(evict: bool) -> None:
    @step
    def strict(vm: str, region: str) -> None: ...

    async def flow() -> None:
        async with saga() as s:
            await s.do(make, "a", undo=strict)

    ended = Driver(flow, evict=evict).run()
    assert isinstance(ended, e.RunFailed)
    assert "takes vm, region; what is known is name, result, idempotency_key" in ended.failure.message
    assert "'region' was left to its default: give it to 'make'" in ended.failure.message


@pytest.mark.parametrize("how", ["registered", "by name", "by result"])
def test_an_undo_may_take_any_number_of_arguments(how: str, evict: bool) -> None:
    @step
    def make_list(count: int) -> list[str]:
        return ["a", "b", "c"]

    @step
    def make_many(*paths: str) -> None: ...

    async def flow() -> None:
        async with saga() as s:
            if how == "registered":
                await s.register(unlink, "a", "b", "c")
            elif how == "by name":
                await s.do(make_many, "a", "b", "c", undo=unlink)
            else:
                await s.do(make_list, 3, undo=unlink)
            raise ValueError("no")

    driver = Driver(flow, evict=evict)
    driver.run()
    assert world.said == ["unlink a b c"] and obligations(driver) == ["owes unlink", "undone"]
    # So it is when another run tries it again.
    world.said.clear()
    opened = next(event for recorded in driver.history if isinstance(event := recorded.event, e.ObligationOpened))
    values = driver.execution.values
    again: dict[str, Any] = {name: values.decoded(value) for name, value in opened.arguments.items()}
    given = {f"argument {name}": value for name, value in again.items()}
    if how == "by result":
        given["result"] = ["a", "b", "c"]
    owed = {
        "run": "run",
        "key": "",
        "what": "undo",
        "work": {"name": "work", "home": ""},
        "undo": {"name": "unlink", "home": ""},
    }
    steps: dict[str, Step[..., Any]] = {"unlink": unlink, "work": make_all}
    asyncio.run(taking_back(lambda name, home: steps.get(name)).function(owed, **given))
    assert world.said == ["unlink a b c"]


# What is no step


async def flow_of_it(name: str) -> str:
    return name


@pytest.mark.parametrize("where", ["saga", "undo", "register", "operation", "cancel"])
def test_a_workflow_is_no_step_and_that_is_said(where: str, evict: bool) -> None:
    order = Workflow(flow_of_it, "order")

    async def flow() -> None:
        if where == "operation":
            await operation(order, "a", poll=ready)
        elif where == "cancel":
            await operation(create, "a", poll=ready, cancel=order)
        async with saga() as s:
            if where == "saga":
                await s.do(order, "a", undo=delete)
            elif where == "undo":
                await s.do(create, "a", undo=order)
            else:
                await s.register(order, "a")

    ended = Driver(flow, evict=evict).run()
    assert isinstance(ended, e.RunFailed) and ended.failure.type == UserError.__name__
    assert "takes steps, and 'order' is a workflow. Start it as a child" in ended.failure.message
    assert world.said == []
