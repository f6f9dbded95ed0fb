"""``saga()``: a block that ends well, or leaves nothing behind, or says what it does not know."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from flowbook.core import events as e
from flowbook.core.failure import Failure
from flowbook.core.retry import RetryPolicy
from flowbook.errors import NotStarted, UnsavableValue, UserError
from flowbook.runtime.definitions import step
from flowbook.runtime.going_on import continue_as_new
from flowbook.runtime.operation import operation
from flowbook.runtime.saga import saga
from tests.runtime.cloud import create, delete, obligations, ready, turns_until, world
from tests.runtime.driver import Driver

pytestmark = pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])


@pytest.fixture(autouse=True)
def fresh() -> None:
    world.__init__()  # type: ignore[misc]


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


class TransportError(Exception):
    """As the HTTP libraries call it, which derive theirs from nothing of Python's."""


class ReadError(TransportError): ...


class ReadTimeout(Exception): ...


UNKNOWN = [TimeoutError, ConnectionError, ConnectionResetError, ReadError, ReadTimeout, UnsavableValue]


@pytest.mark.parametrize("error", UNKNOWN)
def test_a_step_of_unknown_outcome_is_undone_or_stays_owed(error: type[Exception], evict: bool) -> None:
    @step
    def lost(what: str) -> str:
        world.say(f"lost {what}")
        raise error

    async def flow(by_name: bool) -> None:
        async with saga() as s:
            await s.do(lost, "car", undo=forget if by_name else release)

    driver = Driver(flow, False, evict=evict)
    ended = driver.run()
    assert isinstance(ended, e.RunFailed) and "it is not known whether step 'lost' did its work" in ended.failure.text
    assert world.said == ["lost car"] and obligations(driver) == ["owes release", "failed OutcomeUnknown"]
    driver = Driver(flow, True, evict=evict)
    driver.run()
    assert world.said[1:] == ["lost car", "forget car"] and obligations(driver) == ["owes forget", "undone"]


def test_each_attempt_of_a_step_has_to_say_that_it_left_nothing(evict: bool) -> None:
    """The first one had created it when the run was paused; only the second one knew that it had not begun."""

    @step
    def refused(what: str) -> str:
        raise NotStarted("no quota")

    async def flow() -> None:
        async with saga() as s:
            await s.do(refused, "car", undo=release)

    driver = Driver(flow, evict=evict)
    turns_until(driver, lambda: bool(driver.execution.calls))
    paused = Failure("RunPaused", "the run was paused while the step ran")
    driver._tell(e.StepAttemptFailed(driver.execution.calls[0].key, "refused", 1, paused, driver.clock))
    ended = driver.run()
    assert isinstance(ended, e.RunFailed) and "whether step 'refused' did its work: RunPaused" in ended.failure.text
    assert obligations(driver) == ["owes release", "failed OutcomeUnknown"]


def test_a_step_that_says_it_never_began_is_believed_whatever_that_is_called(evict: bool) -> None:
    class ConnectTimeout(NotStarted): ...

    @step
    def refused(what: str) -> str:
        raise ConnectTimeout

    async def flow() -> None:
        async with saga() as s:
            await s.do(refused, "car", undo=release)

    driver = Driver(flow, evict=evict)
    assert isinstance(driver.run(), e.RunFailed)
    assert obligations(driver) == ["owes release", "not started"]


def test_a_step_that_failed_and_gives_the_undo_nothing_leaves_nothing_to_undo(evict: bool) -> None:
    async def flow() -> None:
        async with saga() as s:
            await s.do(book, "flight", undo=release)

    world.broken = {"book flight"}
    driver = Driver(flow, evict=evict)
    assert isinstance(driver.run(), e.RunFailed)
    assert obligations(driver) == ["owes release", "nothing to undo"]


def test_a_block_that_ends_well_keeps_only_what_was_done(evict: bool) -> None:
    @step
    def lost(what: str) -> str:
        raise TimeoutError

    async def flow() -> str:
        async with saga() as s:
            for attempt in (lost, book):
                try:
                    await s.do(attempt, "flight", undo=release)
                except (TimeoutError, OSError):
                    pass
            await s.do(book, "hotel", undo=release)
        return "done"

    world.broken = {"book flight"}
    driver = Driver(flow, evict=evict)
    assert driver.run() == "done"
    assert obligations(driver)[-3:] == ["failed OutcomeUnknown", "nothing to undo", "kept"]
    assert "release" not in " ".join(world.said)


# Blocks that are not used as blocks


def test_a_saga_that_is_no_block_is_refused_before_anything_is_done(evict: bool) -> None:
    async def without_with() -> None:
        await saga().do(book, "car", undo=release)

    async def registered() -> None:
        await saga().register(forget, "car")

    async def again() -> None:
        async with saga() as s:
            pass
        async with s:
            await s.do(book, "car", undo=release)

    async def afterwards() -> None:
        async with saga() as s:
            pass
        await s.do(book, "car", undo=release)

    for flow, what in (
        (without_with, "write 'async with saga() as s:'"),
        (registered, "'forget' would never be taken back"),
        (again, "a saga is one block"),
        (afterwards, "its block has ended, and 'book' would never be taken back"),
    ):
        ended = Driver(flow, evict=evict).run()
        assert isinstance(ended, e.RunFailed) and what in ended.failure.message
        with pytest.raises(UserError, match=what[:20].replace("(", r"\(")):
            asyncio.run(flow())
    assert world.said == []


def test_steps_of_a_block_may_run_together(evict: bool) -> None:
    async def flow(fail: bool) -> list[str]:
        async with saga() as s:
            found = await asyncio.gather(*(s.do(book, what, undo=release) for what in ("a", "b", "c")))
            if fail:
                raise ValueError("no")
        return list(found)

    assert Driver(flow, False, evict=evict).run() == ["a-1", "b-1", "c-1"]
    world.said.clear()
    driver = Driver(flow, True, evict=evict)
    assert isinstance(driver.run(), e.RunFailed)
    assert world.said[3:] == ["release c-1", "release b-1", "release a-1"]
    assert obligations(driver)[3:] == ["undone"] * 3


def test_what_goes_on_when_the_block_has_failed_is_taken_back_and_begins_nothing_more(evict: bool) -> None:
    """The chain was taken back up to where it was, and went on: its next step was never settled, and the run hung."""

    async def flow() -> None:
        async with saga() as s:

            async def chain() -> None:
                await s.do(book, "b1", undo=release)
                world.say("goes on")
                await s.do(book, "b2", undo=release)

            async def bad() -> None:
                await fails()

            await asyncio.gather(bad(), chain())

    @step
    def fails() -> None:
        raise ValueError("no")

    driver = Driver(flow, evict=evict)
    ended = driver.run()
    assert isinstance(ended, e.RunFailed) and ended.failure.message == "no"
    assert world.said in ([], ["book b1", "release b1-1"])
    assert obligations(driver)[-1] in ("undone", "not started")


def test_a_block_waits_for_nobody_and_refuses_to_end_well_around_what_still_goes_on(evict: bool) -> None:
    async def flow() -> None:
        async with saga() as s:
            doing = asyncio.create_task(s.do(book, "a", undo=release))
            await asyncio.sleep(0)
        await doing

    driver = Driver(flow, evict=evict)
    ended = driver.run()
    assert isinstance(ended, e.RunFailed) and "the block ended while 'book' was still going on" in ended.failure.message
    assert world.said in ([], ["book a", "release a-1"])
    assert obligations(driver)[-1] in ("undone", "not started")


def test_a_block_whose_task_is_gone_is_taken_back_when_the_run_ends(evict: bool) -> None:
    """Nobody would have settled it, and the run waited for that for ever."""

    async def flow() -> str:
        async def half() -> None:
            s = await saga().__aenter__()
            await s.do(book, "a", undo=release)

        await asyncio.create_task(half())
        return "done"

    driver = Driver(flow, evict=evict)
    assert driver.run() == "done"
    assert world.said == ["book a", "release a-1"] and obligations(driver) == ["owes release", "undone"]


def test_continue_as_new_inside_a_block_is_refused(evict: bool) -> None:
    async def flow(n: int = 0) -> int:
        async with saga() as s:
            await s.do(book, "a", undo=release)
            if n < 1:
                continue_as_new(n + 1)
        return n

    driver = Driver(flow, evict=evict)
    ended = driver.run()
    assert isinstance(ended, e.RunFailed) and "continue_as_new() inside a saga" in ended.failure.message
    assert world.said == ["book a", "release a-1"]


def test_continue_as_new_beside_an_operation_is_refused(evict: bool) -> None:
    async def flow(n: int = 0) -> int:
        going_on = asyncio.create_task(operation(create, "a", poll=ready, every="1h", cancel=delete))
        await asyncio.sleep(1)
        if n < 1:
            continue_as_new(n + 1)
        return await going_on

    world.left = 99
    ended = Driver(flow, evict=evict).run()
    assert isinstance(ended, e.RunFailed) and "inside operation 'create'" in ended.failure.message
    assert world.said == ["create", "poll", "delete"]


def test_continue_as_new_after_a_block_goes_on(evict: bool) -> None:
    async def flow(n: int = 0) -> int:
        async with saga() as s:
            await s.do(book, "a", undo=release)
        if n < 1:
            continue_as_new(n + 1)
        return n

    assert isinstance(Driver(flow, evict=evict).run(), e.RunContinued)
    assert world.said == ["book a"]


def test_a_block_that_is_cancelled_again_while_it_takes_back_has_ended(evict: bool) -> None:
    """It stayed open for ever, and going on as a new run was refused."""

    async def flow(n: int = 0) -> int:
        with suppress(TimeoutError):
            async with asyncio.timeout(20), asyncio.timeout(5), saga() as s:
                await s.do(book, "a", undo=operated)
                await asyncio.sleep(100)
        if n < 1:
            continue_as_new(n + 1)
        return n

    @step(retry=RetryPolicy(initial_interval=30, maximum_attempts=2))
    def operated(booking: str) -> None:
        world.say(f"release {booking}")

    world.broken = {"release a-1"}
    driver = Driver(flow, evict=evict)
    assert isinstance(driver.run(), e.RunContinued)
    assert world.said == ["book a", "release a-1", "release a-1"]
    assert obligations(driver) == ["owes operated", "failed OSError"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_step_that_waits_for_a_handle_when_its_block_ends_does_not_begin(fails: bool, evict: bool) -> None:
    @step
    def name() -> str:
        return "late"

    async def flow() -> str:
        named = name.delay("10s").start()
        problem = ""
        try:
            async with saga() as s:
                doing = asyncio.create_task(s.do(book, named, undo=release))
                await asyncio.sleep(1)
                if fails:
                    raise ValueError("no")
        except (UserError, ValueError) as error:
            problem = str(error)
        await asyncio.wait([doing])
        assert "its block has ended, and 'book' would never be taken back" in str(doing.exception())
        return problem

    driver = Driver(flow, evict=evict)
    problem = driver.run()
    assert problem == "no" if fails else "the block ended while 'book' was still going on" in problem
    assert world.said == [] and obligations(driver) == []


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
