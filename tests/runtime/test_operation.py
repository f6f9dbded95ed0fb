"""``operation()`` and ``saga()``: what is started outside is finished, or taken back, and nothing is silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from flowbook.core import events as e
from flowbook.core.retry import RetryPolicy
from flowbook.runtime.definitions import step
from flowbook.runtime.elsewhere import awakeable
from flowbook.runtime.handles import launch
from flowbook.runtime.operation import operation
from flowbook.runtime.results import results
from flowbook.runtime.saga import saga
from flowbook.runtime.shielding import shielded
from tests.runtime.driver import Driver

pytestmark = pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])


class World:
    """A cloud with one machine, which takes some polls to come up and some to go."""

    def __init__(self, ready_after: int = 2, gone_after: int = 2) -> None:
        self.said: list[str] = []
        self.left = ready_after
        self.going = gone_after
        self.broken: set[str] = set()

    def say(self, what: str) -> None:
        self.said.append(what)
        if what in self.broken:
            raise OSError(f"{what} is broken")


world = World()


@pytest.fixture(autouse=True)
def fresh() -> None:
    world.__init__()  # type: ignore[misc]


@step
def create(name: str) -> str:
    world.say("create")
    return f"vm-{name}"


@step
def ready(vm: str) -> bool:
    world.say("poll")
    world.left -= 1
    return world.left <= 0


@step
def delete(vm: str) -> None:
    world.say("delete")


@step
def unmake(name: str) -> None:
    world.say("unmake")


@step
def gone(vm: str) -> bool:
    world.say("confirm")
    world.going -= 1
    return world.going <= 0


async def provision(timeout: str | None = None) -> Any:
    return await operation(create, "a", poll=ready, every="10s", timeout=timeout, cancel=delete, confirm=gone)


def obligations(driver: Driver) -> list[str]:
    """What was owed, as the history tells it."""
    told = []
    for recorded in driver.history:
        match recorded.event:
            case e.ObligationOpened(name=name):
                told.append(f"owes {name}")
            case e.ObligationSettled(outcome=outcome):
                told.append(outcome)
            case e.ObligationFailed(failure=failure):
                told.append(f"failed {failure.type}")
    return told


def turns_until(driver: Driver, ready: Callable[[], bool]) -> None:
    while not ready():
        assert driver.turn()


def test_it_gives_what_start_gave_once_polling_says_so(evict: bool) -> None:
    driver = Driver(provision, evict=evict)
    assert driver.run() == "vm-a"
    assert world.said == ["create", "poll", "poll"] and driver.clock == 1010.0
    assert obligations(driver) == ["owes create", "kept"]


def test_what_is_owed_is_durable_before_anything_is_started(evict: bool) -> None:
    driver = Driver(provision, evict=evict)
    turns_until(driver, lambda: bool(world.said))
    kinds = driver.kinds()
    assert kinds.index("ObligationOpened") < kinds.index("StepCompleted")


def test_polling_may_give_the_result(evict: bool) -> None:
    @step
    def answer(vm: str) -> Any:
        return {"ip": "10.0.0.1"}

    async def flow() -> Any:
        return await operation(create, "a", poll=answer)

    assert Driver(flow, evict=evict).run() == {"ip": "10.0.0.1"}


def test_a_time_out_cancels_and_confirms_and_then_raises(evict: bool) -> None:
    world.left = 99
    driver = Driver(provision, "30s", evict=evict)
    ended = driver.run()
    assert isinstance(ended, e.RunFailed) and ended.failure.type == "TimeoutError"
    assert "'create' was not done within 30" in ended.failure.message
    assert world.said[-3:] == ["delete", "confirm", "confirm"]
    assert obligations(driver) == ["owes create", "cancelled"]


def test_a_time_out_can_be_handled(evict: bool) -> None:
    async def flow() -> str:
        try:
            await operation(create, "a", poll=ready, every="10s", timeout="5s", cancel=delete)
        except TimeoutError:
            return "too slow"
        return "?"

    world.left = 99
    assert Driver(flow, evict=evict).run() == "too slow"
    assert world.said == ["create", "poll", "delete"]


def test_a_cancellation_cancels_outside_first(evict: bool) -> None:
    world.left = 99
    driver = Driver(provision, evict=evict)
    turns_until(driver, lambda: "poll" in world.said)
    driver.mailbox.append(e.CancelRequested())
    assert isinstance(driver.run(), e.RunCancelled)
    assert world.said == ["create", "poll", "delete", "confirm", "confirm"]
    assert obligations(driver) == ["owes create", "cancelled"]


def test_an_anyio_scope_around_it_cancels_it_too(evict: bool) -> None:
    async def flow() -> str:
        with anyio.move_on_after(25):
            await provision()
        return "moved on"

    world.left = 99
    driver = Driver(flow, evict=evict)
    assert driver.run() == "moved on"
    assert world.said[-3:] == ["delete", "confirm", "confirm"]


def test_termination_takes_back_what_is_owed_and_runs_no_other_code(evict: bool) -> None:
    async def flow() -> None:
        try:
            await provision()
        finally:
            await world_after()

    @step
    def world_after() -> None:
        world.say("finally")

    world.left = 99
    driver = Driver(flow, evict=evict)
    turns_until(driver, lambda: "poll" in world.said)
    driver.mailbox.append(e.TerminateRequested())
    assert isinstance(driver.run(), e.RunTerminated)
    assert world.said == ["create", "poll", "delete", "confirm", "confirm"]
    assert obligations(driver) == ["owes create", "cancelled"]


def test_a_start_that_fails_leaves_nothing_to_cancel(evict: bool) -> None:
    world.broken = {"create"}
    driver = Driver(provision, evict=evict)
    assert isinstance(driver.run(), e.RunFailed)
    assert world.said == ["create"] and obligations(driver) == ["owes create", "cancelled"]


def test_a_poll_that_fails_cancels(evict: bool) -> None:
    world.broken = {"poll"}
    driver = Driver(provision, evict=evict)
    assert isinstance(driver.run(), e.RunFailed)
    assert world.said == ["create", "poll", "delete", "confirm", "confirm"]


def test_a_cancel_that_fails_for_good_stays_owed(evict: bool) -> None:
    world.left = 99
    world.broken = {"delete"}
    driver = Driver(provision, "5s", evict=evict)
    ended = driver.run()
    assert isinstance(ended, e.RunFailed) and ended.failure.type == "TimeoutError"
    assert world.said.count("delete") == 10
    assert obligations(driver)[1].startswith("failed")


def test_outside_a_run_it_is_plain_code(evict: bool) -> None:
    async def quick() -> Any:
        return await operation(create, "a", poll=ready, every=0.0, cancel=delete)

    assert asyncio.run(quick()) == "vm-a"


def test_what_makes_no_sense_is_said(evict: bool) -> None:
    async def no_cancel() -> Any:
        return await operation(create, "a", confirm=gone)

    async def no_step() -> Any:
        return await operation("create")  # type: ignore[arg-type]

    for flow, what in ((no_cancel, "no cancel"), (no_step, "takes steps")):
        ended = Driver(flow, evict=evict).run()
        assert isinstance(ended, e.RunFailed) and what in ended.failure.message


# Sagas


@step
def book(what: str) -> str:
    world.say(f"book {what}")
    return f"{what}-1"


@step
def release(booking: str) -> None:
    world.say(f"release {booking}")


@step
def forget(what: str) -> None:
    world.say(f"forget {what}")


async def trip(fail: bool) -> list[str]:
    async with saga() as s:
        flight = await s.do(book, "flight", undo=release)
        hotel = await s.do(book, "hotel", undo=forget)
        await asyncio.sleep(60)
        if fail:
            raise ValueError("no car")
    return [flight, hotel]


def test_a_saga_that_ends_well_keeps_what_it_did(evict: bool) -> None:
    driver = Driver(trip, False, evict=evict)
    assert driver.run() == ["flight-1", "hotel-1"]
    assert world.said == ["book flight", "book hotel"]
    assert obligations(driver) == ["owes release", "owes forget", "kept", "kept"]


def test_a_saga_that_fails_takes_back_in_reverse_by_result_or_by_name(evict: bool) -> None:
    driver = Driver(trip, True, evict=evict)
    ended = driver.run()
    assert isinstance(ended, e.RunFailed) and ended.failure.message == "no car"
    assert world.said == ["book flight", "book hotel", "forget hotel", "release flight-1"]
    assert obligations(driver)[2:] == ["undone", "undone"]


@pytest.mark.parametrize("end", [e.CancelRequested(), e.TerminateRequested()])
def test_a_saga_that_is_ended_takes_back(evict: bool, end: e.AnyEvent) -> None:
    driver = Driver(trip, False, evict=evict)
    turns_until(driver, lambda: "book hotel" in world.said and bool(driver.timers))
    driver.mailbox.append(end)
    assert isinstance(driver.run(), e.RunCancelled | e.RunTerminated)
    assert world.said[2:] == ["forget hotel", "release flight-1"]


def test_an_undo_that_fails_is_seen_and_stops_no_other(evict: bool) -> None:
    world.broken = {"forget hotel"}
    driver = Driver(trip, True, evict=evict)
    ended = driver.run()
    assert isinstance(ended, e.RunFailed) and ended.failure.message == "no car"
    assert "forget" in ended.failure.text and "obligations" in ended.failure.text
    assert world.said.count("forget hotel") == 10 and world.said[-1] == "release flight-1"
    told = obligations(driver)
    assert told[2].startswith("failed") and told[3] == "undone"


def test_a_step_that_failed_is_taken_back_where_its_arguments_are_enough(evict: bool) -> None:
    async def flow() -> None:
        async with saga() as s:
            await s.do(book, "car", undo=forget)
            await s.do(book, "flight", undo=release)

    world.broken = {"book flight", "book car"}
    driver = Driver(flow, evict=evict)
    assert isinstance(driver.run(), e.RunFailed)
    assert world.said == ["book car", "forget car"]


def test_an_undo_may_be_registered_alone(evict: bool) -> None:
    async def flow() -> None:
        async with saga() as s:
            await s.register(forget, "all")
            raise ValueError("no")

    driver = Driver(flow, evict=evict)
    assert isinstance(driver.run(), e.RunFailed)
    assert world.said == ["forget all"]


def test_an_undo_that_cannot_be_called_is_refused_before_anything_is_done(evict: bool) -> None:
    @step
    def odd(price: int, currency: str) -> None: ...

    async def flow() -> None:
        async with saga() as s:
            await s.do(book, "car", undo=odd)

    ended = Driver(flow, evict=evict).run()
    assert isinstance(ended, e.RunFailed) and "price, currency" in ended.failure.message
    assert world.said == []


def test_an_undos_own_retry_policy_is_heard(evict: bool) -> None:
    @step(retry=RetryPolicy(maximum_attempts=3))
    def careful(booking: str) -> None:
        world.say("careful")

    async def flow() -> None:
        async with saga() as s:
            await s.do(book, "car", undo=careful)
            raise ValueError("no")

    world.broken = {"careful"}
    Driver(flow, evict=evict).run()
    assert world.said.count("careful") == 3


def test_a_saga_outside_a_run_is_plain_code(evict: bool) -> None:
    async def flow() -> None:
        async with saga() as s:
            await s.do(book, "car", undo=release)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(flow())
    assert world.said == ["book car", "release car-1"]


def test_shielded_work_ends_before_the_cancellation_goes_on(evict: bool) -> None:
    async def flow() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await shielded(tidy())

    async def tidy() -> None:
        await asyncio.sleep(10)
        await forget("it")

    driver = Driver(flow, evict=evict)
    turns_until(driver, lambda: bool(driver.timers))
    driver.mailbox.append(e.CancelRequested())
    assert isinstance(driver.run(), e.RunCancelled)
    assert world.said == ["forget it"]


@pytest.mark.parametrize("kind", ["operation", "saga"])
def test_what_is_taken_back_before_it_is_recorded_does_not_begin(kind: str, evict: bool) -> None:
    """A task that nobody told of the cancellation waited for the record, and began what was settled by then."""

    async def inner() -> None:
        if kind == "operation":
            await operation(create, "a", poll=ready, every="10s", cancel=delete)
        else:
            async with saga() as s:
                await s.do(create, "a", undo=unmake)

    async def body() -> None:
        await asyncio.wait([asyncio.create_task(inner())])

    async def work() -> None:
        kept = create.undo(delete).start("b")
        await results(out=launch(body, after=(kept,), label="body"))

    driver = Driver(work, evict=evict, order=lambda calls: calls[-1])
    while not any(isinstance(item, e.ObligationOpened) for item in driver.execution.items) or not driver.executed:
        driver.turn()
    driver._tell(e.CancelRequested())
    assert isinstance(driver.run(), e.RunCancelled)
    assert world.said == ["create", "delete"]


def test_a_promise_that_a_terminated_run_made_holds_nothing_back(evict: bool) -> None:
    """A step waits while a promise is not recorded, as it may hand on its token; this one never will be."""

    async def work() -> None:
        async with saga() as s:
            await s.do(create, "a", undo=unmake)
            promise = awakeable("approval")
            await ready(promise.token)
            await promise

    driver = Driver(work, evict=evict)
    turns_until(driver, lambda: any(isinstance(item, e.StepWaiting) for item in driver.execution.items))
    driver.execution.items.clear()
    driver._tell(e.TerminateRequested())
    assert isinstance(driver.run(), e.RunTerminated)
    assert world.said == ["create", "unmake"]
