"""``operation()`` and ``saga()``: what is started outside is finished, or taken back, and nothing is silent."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from flowbook.core import events as e
from flowbook.core.ids import RunId
from flowbook.core.keys import idempotency_key
from flowbook.core.retry import RetryPolicy
from flowbook.errors import NotStarted
from flowbook.runtime.definitions import step
from flowbook.runtime.elsewhere import awakeable
from flowbook.runtime.handles import launch
from flowbook.runtime.operation import operation
from flowbook.runtime.results import results
from flowbook.runtime.saga import saga
from flowbook.runtime.shielding import shielded
from tests.runtime.cloud import create, delete, gone, obligations, ready, turns_until, unmake, world
from tests.runtime.driver import Driver

pytestmark = pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])


@pytest.fixture(autouse=True)
def fresh() -> None:
    world.__init__()  # type: ignore[misc]


async def provision(timeout: str | None = None) -> Any:
    return await operation(create, "a", poll=ready, every="10s", timeout=timeout, cancel=delete, confirm=gone)


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


# A start that fails


def test_a_start_that_fails_may_have_started_something_and_stays_owed(evict: bool) -> None:
    world.broken = {"create"}
    driver = Driver(provision, evict=evict)
    ended = driver.run()
    assert isinstance(ended, e.RunFailed) and "see `flowbook obligations`" in ended.failure.text
    assert world.said == ["create"] and obligations(driver) == ["owes create", "failed OutcomeUnknown"]
    (problem,) = [r.event.failure.message for r in driver.history if isinstance(r.event, e.ObligationFailed)]
    assert problem.startswith("it is not known whether step 'create' did its work: OSError: create is broken")


@pytest.mark.parametrize("declared", [OSError, (ValueError, EnvironmentError), "OSError"])
def test_a_start_that_fails_as_declared_leaves_nothing_to_cancel(declared: Any, evict: bool) -> None:
    async def flow() -> Any:
        return await operation(create, "a", poll=ready, cancel=delete, not_started=declared)

    world.broken = {"create"}
    driver = Driver(flow, evict=evict)
    assert isinstance(driver.run(), e.RunFailed)
    assert world.said == ["create"] and obligations(driver) == ["owes create", "not started"]


def test_a_start_may_say_itself_that_nothing_was_started(evict: bool) -> None:
    @step(retry=RetryPolicy(maximum_attempts=5))
    def refused(name: str) -> str:
        world.say("refused")
        raise NotStarted("the quota is used up")

    async def flow() -> Any:
        return await operation(refused, "a", poll=ready, cancel=delete)

    driver = Driver(flow, evict=evict)
    assert isinstance(driver.run(), e.RunFailed)
    assert obligations(driver) == ["owes refused", "not started"]


@pytest.mark.parametrize("late", [True, False], ids=["waiting for its turn", "running"])
def test_a_start_is_told_of_a_cancellation(late: bool, evict: bool) -> None:
    driver = Driver(provision, evict=evict)
    driver.late = late
    turns_until(driver, lambda: bool(driver.calls or driver.execution.calls))
    driver.mailbox.append(e.CancelRequested())
    assert isinstance(driver.run(), e.RunCancelled)
    assert "StepStopRequested" in driver.kinds()
    if late and not evict:
        assert world.said == [] and obligations(driver) == ["owes create", "not started"]
    else:
        assert world.said == ["create", "delete", "confirm", "confirm"]
        assert obligations(driver) == ["owes create", "cancelled"]


def test_each_attempt_has_to_be_sure_that_nothing_was_started(evict: bool) -> None:
    @step(retry=RetryPolicy(maximum_attempts=2))
    def flaky(name: str) -> str:
        world.say("flaky")
        raise TimeoutError if len(world.said) == 1 else OSError

    async def flow() -> Any:
        return await operation(flaky, "a", poll=ready, cancel=delete, not_started=OSError)

    driver = Driver(flow, evict=evict)
    assert isinstance(driver.run(), e.RunFailed)
    assert obligations(driver) == ["owes flaky", "failed OutcomeUnknown"]


def test_a_cancel_that_needs_no_result_is_called_with_what_is_known(evict: bool) -> None:
    keys: list[str] = []

    @step
    def find_and_delete(vm: str | None = None, *, name: str, idempotency_key: str) -> None:
        keys.append(idempotency_key)
        world.say(f"delete {vm} {name}")

    @step
    def is_gone(*, name: str) -> bool:
        world.say(f"is {name} gone")
        return True

    async def flow(name: str, time: str) -> Any:
        return await operation(
            create, name, poll=ready, every="1m", timeout=time, cancel=find_and_delete, confirm=is_gone
        )

    world.broken = {"create"}
    driver = Driver(flow, "a", "1h", evict=evict)
    assert isinstance(driver.run(), e.RunFailed)
    assert world.said == ["create", "delete None a", "is a gone"]
    assert obligations(driver) == ["owes create", "cancelled"]
    (opened,) = [r.event for r in driver.history if isinstance(r.event, e.ObligationOpened)]
    assert keys == [idempotency_key(RunId("run"), opened.begins)]

    world.__init__(ready_after=99)  # type: ignore[misc]
    assert isinstance(Driver(flow, "a", "1s", evict=evict).run(), e.RunFailed)
    assert world.said == ["create", "poll", "delete vm-a a", "is a gone"]


def test_a_blind_cancel_that_cannot_be_confirmed_stays_owed(evict: bool) -> None:
    @step
    def sweep(vm: str = "") -> None:
        world.say("sweep")

    async def flow() -> Any:
        return await operation(create, "a", poll=ready, cancel=sweep, confirm=gone)

    world.broken = {"create"}
    driver = Driver(flow, evict=evict)
    driver.run()
    assert world.said == ["create", "sweep"] and obligations(driver) == ["owes create", "failed OutcomeUnknown"]


def test_an_operation_without_a_cancel_is_left_and_says_so(evict: bool) -> None:
    async def flow(time: str) -> Any:
        return await operation(create, "a", poll=ready, timeout=time)

    world.left = 99
    driver = Driver(flow, "5s", evict=evict)
    ended = driver.run()
    assert isinstance(ended, e.RunFailed) and ended.failure.message.endswith("within 5s, and goes on: it has no cancel")
    assert obligations(driver) == ["owes create", "left"]
    world.broken = {"create"}
    driver = Driver(flow, "5s", evict=evict)
    driver.run()
    assert obligations(driver) == ["owes create", "left"]


# Polling


def test_polling_is_patient(evict: bool) -> None:
    @step
    def shaky(vm: str) -> bool:
        world.say("poll")
        if len(world.said) < 5:
            raise ConnectionError("502")
        return True

    async def flow() -> Any:
        return await operation(create, "a", poll=shaky, cancel=delete)

    driver = Driver(flow, evict=evict)
    assert driver.run() == "vm-a" and world.said.count("poll") == 4
    assert obligations(driver) == ["owes create", "kept"]


def test_a_poll_that_fails_for_good_cancels(evict: bool) -> None:
    world.broken = {"poll"}
    driver = Driver(provision, evict=evict)
    assert isinstance(driver.run(), e.RunFailed)
    assert world.said == ["create", *["poll"] * 10, "delete", "confirm", "confirm"]


def test_the_operations_time_is_up_while_polling_is_tried_again(evict: bool) -> None:
    world.broken = {"poll"}
    driver = Driver(provision, "5s", evict=evict)
    ended = driver.run()
    assert isinstance(ended, e.RunFailed) and ended.failure.message.endswith("within 5s and was cancelled")
    assert world.said == ["create", *["poll"] * 3, "delete", "confirm", "confirm"]


@pytest.mark.parametrize("how", ["declared", "its own policy", "not retryable"])
def test_a_poll_that_says_so_ends_the_operation_at_once(how: str, evict: bool) -> None:
    class JobFailed(Exception): ...

    def check(vm: str) -> bool:
        world.say("poll")
        raise NotStarted if how == "not retryable" else JobFailed

    policy = RetryPolicy(maximum_attempts=5, non_retryable=(JobFailed,))
    poll = step(retry=policy)(check) if how == "its own policy" else step(check)

    async def flow() -> Any:
        failed = JobFailed if how == "declared" else ()
        return await operation(create, "a", poll=poll, cancel=delete, failed=failed)

    driver = Driver(flow, evict=evict)
    assert isinstance(driver.run(), e.RunFailed)
    assert world.said == ["create", "poll", "delete"] and obligations(driver)[-1] == "cancelled"


def test_a_cancel_that_fails_for_good_stays_owed(evict: bool) -> None:
    world.left = 99
    world.broken = {"delete"}
    driver = Driver(provision, "5s", evict=evict)
    ended = driver.run()
    assert isinstance(ended, e.RunFailed) and ended.failure.type == "TimeoutError"
    assert "within 5s, and cancelling it failed: step 'delete' failed after 10 attempts" in ended.failure.message
    assert "see `flowbook obligations`" in ended.failure.text
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

    async def no_error() -> Any:
        return await operation(create, "a", not_started=404)

    async def any_error() -> Any:
        return await operation(create, "a", not_started=(ValueError, Exception))

    @step
    def in_zone(vm: str, zone: str) -> None: ...

    async def no_zone() -> Any:
        return await operation(create, "a", cancel=in_zone)

    for flow, what in (
        (no_cancel, "no cancel"),
        (no_step, "takes steps"),
        (no_error, "not_started takes exception classes"),
        (any_error, "not_started cannot be <class 'Exception'>"),
        (no_zone, "cancel 'in_zone' takes 'zone', which is no argument given to 'create'"),
    ):
        ended = Driver(flow, evict=evict).run()
        assert isinstance(ended, e.RunFailed) and what in ended.failure.message


def test_shielded_work_ends_before_the_cancellation_goes_on(evict: bool) -> None:
    async def flow() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await shielded(tidy())

    async def tidy() -> None:
        await asyncio.sleep(10)
        await unmake("it")

    driver = Driver(flow, evict=evict)
    turns_until(driver, lambda: bool(driver.timers))
    driver.mailbox.append(e.CancelRequested())
    assert isinstance(driver.run(), e.RunCancelled)
    assert world.said == ["unmake"]


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
