"""Workflow code on a virtual clock: every behaviour holds in memory and when re-executed before every event."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from flowbook.core import events as e
from flowbook.core.retry import RetryPolicy
from flowbook.errors import HistoryMismatch, NotDeterministic, StepFailed
from flowbook.runtime.definitions import step
from flowbook.runtime.primitives import now, random, record, signal, sleep, uuid4
from tests.runtime.driver import Driver

pytestmark = pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])


@step
def double(number: int) -> int:
    return 2 * number


@step
async def add(left: int, right: int) -> int:
    return left + right


@step
def fails(kind: str) -> None:
    raise {"value": ValueError("bad"), "time": TimeoutError("late")}[kind]


def test_steps_in_sequence_give_their_results(evict: bool) -> None:
    async def work(number: int) -> int:
        first = await double(number)
        return await add(first, right=await double(first))

    assert Driver(work, 3, evict=evict).run() == 18


def test_gather_runs_every_branch_and_keeps_order(evict: bool) -> None:
    async def work() -> list[int]:
        return await asyncio.gather(*(double(n) for n in range(5)))

    assert Driver(work, evict=evict).run() == [0, 2, 4, 6, 8]


def test_the_order_of_completion_is_what_the_code_sees_again(evict: bool) -> None:
    async def work() -> list[int]:
        seen: list[int] = []
        for next_done in asyncio.as_completed([double(n) for n in range(6)]):
            seen.append(await next_done)
        return seen

    driver = Driver(work, evict=evict, order=lambda calls: calls[-1])
    assert driver.run() == [10, 8, 6, 4, 2, 0]


def test_wait_gives_its_sets_in_creation_order(evict: bool) -> None:
    async def work() -> list[str]:
        tasks = {asyncio.ensure_future(double(n)) for n in range(8)}
        done, _ = await asyncio.wait(tasks)
        return [task.get_name() for task in done]

    driver = Driver(work, evict=evict)
    names = driver.run()
    assert names == sorted(names, key=lambda name: (len(name), name))


def test_sleep_is_a_recorded_timer_on_the_virtual_clock(evict: bool) -> None:
    async def work() -> float:
        before = now()
        await asyncio.sleep(3600)
        await sleep("1h30m")
        return (now() - before).total_seconds()

    driver = Driver(work, evict=evict)
    assert driver.run() == 3600 + 5400
    assert driver.kinds().count("TimerFired") == 2


def test_timeout_around_a_signal_that_does_not_come(evict: bool) -> None:
    async def work() -> str:
        try:
            return str(await signal("approval", timeout="24h"))
        except TimeoutError:
            return "nobody answered"

    driver = Driver(work, evict=evict)
    assert driver.run() == "nobody answered"
    assert driver.clock == 1000 + 86400
    assert "SignalDropped" in driver.kinds()


def test_a_signal_waits_for_its_receiver(evict: bool) -> None:
    async def work() -> list[Any]:
        await double(1)
        return [await signal("go"), await signal("go")]

    driver = Driver(work, evict=evict)
    driver.send("go", "first")
    driver.send("go", "second")
    assert driver.run() == ["first", "second"]


def test_a_timer_that_is_not_needed_any_more_is_cancelled(evict: bool) -> None:
    async def work() -> int:
        async with asyncio.timeout(60):
            return await double(4)

    driver = Driver(work, evict=evict)
    assert driver.run() == 8
    assert "TimerFired" not in driver.kinds()


def test_anyio_groups_scopes_events_and_streams(evict: bool) -> None:
    async def work() -> dict[str, Any]:
        seen: list[int] = []
        ready = anyio.Event()
        send, receive = anyio.create_memory_object_stream[int](10)

        async def producer() -> None:
            async with send:
                for number in range(3):
                    await send.send(await double(number))

        async def consumer() -> None:
            async with receive:
                async for number in receive:
                    seen.append(number)
            ready.set()

        async with anyio.create_task_group() as group:
            group.start_soon(producer)
            group.start_soon(consumer)
        await ready.wait()
        with anyio.move_on_after(5) as scope:
            await signal("never")
        return {"seen": seen, "cut": scope.cancelled_caught, "time": anyio.current_time() - 1000}

    assert Driver(work, evict=evict).run() == {"seen": [0, 2, 4], "cut": True, "time": 5}


def test_cancelling_an_anyio_scope_around_a_running_step_ends(evict: bool) -> None:
    async def work() -> bool:
        async with anyio.create_task_group() as group:
            group.start_soon(signal, "never")
            group.start_soon(double, 1)
            await anyio.sleep(1)
            group.cancel_scope.cancel()
        return True

    assert Driver(work, evict=evict, order=lambda calls: calls[0]).run() is True


def test_task_group_lock_queue_and_semaphore(evict: bool) -> None:
    async def work() -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue(2)
        lock, room, out = asyncio.Lock(), asyncio.Semaphore(2), []

        async def put(number: int) -> None:
            async with room, lock:
                await queue.put(await double(number))

        async def take() -> None:
            for _ in range(4):
                out.append(await queue.get())

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(put(number))
            group.create_task(take())
        return out

    assert sorted(Driver(work, evict=evict).run()) == [0, 2, 4, 6]


def test_to_thread_is_an_implicit_step(evict: bool) -> None:
    async def work() -> int:
        return await asyncio.to_thread(sum, [1, 2, 3])

    driver = Driver(work, evict=evict)
    assert driver.run() == 6
    assert driver.executed == ["sum"]


def test_random_and_ids_are_streams_of_their_call_site(evict: bool) -> None:
    async def plain() -> tuple[str, float]:
        identity = str(uuid4())
        await double(1)
        return identity, random()

    drawn = Driver(plain, evict=evict).run()
    assert drawn == Driver(plain, evict=not evict).run()
    assert drawn[0] != drawn[1]


def test_one_more_draw_shifts_no_other(evict: bool) -> None:
    async def work(more: int) -> tuple[float, str]:
        first = random()
        for _ in range(more):
            uuid4()
        await double(1)
        return first, str(random())

    assert Driver(work, 0, evict=evict).run() == Driver(work, 5, evict=evict).run()


def test_record_keeps_the_first_value(evict: bool) -> None:
    values = iter(range(100))

    async def work() -> tuple[int, int]:
        first = await record(lambda: next(values))
        await double(1)
        return first, await record(lambda: next(values))

    assert Driver(work, evict=evict).run() == (0, 1)


@pytest.mark.parametrize(
    ("kind", "caught"), [("value", ValueError), ("time", TimeoutError), ("value", StepFailed), ("time", StepFailed)]
)
def test_a_failed_step_raises_what_a_plain_call_would(evict: bool, kind: str, caught: type[Exception]) -> None:
    async def work() -> str:
        try:
            await fails(kind)
        except caught as error:
            return f"{isinstance(error, StepFailed)} {error}"
        return "not raised"

    assert Driver(work, evict=evict).run().startswith("True step 'fails' failed: ")


def test_retries_follow_the_policy_and_a_failure_is_the_last_one(evict: bool) -> None:
    calls: list[int] = []

    @step(retry=RetryPolicy(maximum_attempts=3, initial_interval=10))
    def flaky() -> None:
        calls.append(1)
        raise OSError(f"try {len(calls)}")

    async def work() -> None:
        await flaky()

    driver = Driver(work, evict=evict)
    closing = driver.run()
    assert isinstance(closing, e.RunFailed)
    assert (closing.step, closing.failure.type, closing.failure.message) == ("flaky", "OSError", "try 3")
    assert (len(calls), driver.clock) == (3, 1000 + 10 + 20)


def test_cancellation_reaches_the_code_and_its_finally_may_run_steps(evict: bool) -> None:
    async def work() -> None:
        try:
            await signal("never")
        finally:
            await double(21)

    driver = Driver(work, evict=evict)
    driver.turn()
    driver.mailbox.append(e.CancelRequested())
    assert isinstance(driver.run(), e.RunCancelled)
    assert driver.executed == ["double"]


def test_a_caught_cancellation_lets_the_run_succeed(evict: bool) -> None:
    async def work() -> str:
        try:
            await signal("never")
        except asyncio.CancelledError:
            return "tidied up"
        return "?"

    driver = Driver(work, evict=evict)
    driver.turn()
    driver.mailbox.append(e.CancelRequested())
    assert driver.run() == "tidied up"


def test_a_run_leaves_memory_from_within_groups(evict: bool) -> None:
    async def work() -> str:
        async with asyncio.TaskGroup(), asyncio.TaskGroup() as inner:
            inner.create_task(asyncio.sleep(1))
        return "done"

    driver = Driver(work, evict=evict)
    driver.turn()
    driver.execution.close()
    driver.execution = driver._activate()
    assert driver.run() == "done"


def test_unfinished_tasks_end_with_the_run(evict: bool) -> None:
    async def work() -> str:
        left = asyncio.create_task(signal("never"))
        await double(1)
        return f"done {left.done()}"

    assert Driver(work, evict=evict).run() == "done False"


def test_code_that_does_something_else_is_stopped_before_it_sees_a_value(evict: bool) -> None:
    turn = iter(range(100))

    async def work() -> list[int]:
        return [await double(next(turn)), await double(1)]

    driver = Driver(work, evict=False)
    driver.run()
    with pytest.raises(HistoryMismatch, match="other arguments"):
        driver._activate()


def test_a_missing_command_is_named(evict: bool) -> None:
    ask = [True]

    async def work() -> int:
        if ask[0]:
            await double(1)
        await signal("go")
        return 1

    driver = Driver(work, evict=False)
    while driver.turn():
        pass
    ask[0] = False
    with pytest.raises(HistoryMismatch, match="step 'double'"):
        driver._activate()


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda: asyncio.open_connection("127.0.0.1", 1), "do network IO in a step"),
        (lambda: asyncio.create_subprocess_exec("true"), "start processes in a step"),
        (lambda: _later(lambda: asyncio.get_running_loop().run_until_complete(None)), "await the coroutine"),  # type: ignore[arg-type]
        (lambda: _later(lambda: asyncio.get_running_loop().add_reader(0, print)), "file and pipe IO in a step"),
    ],
)
def test_what_cannot_be_re_executed_says_what_to_do_instead(evict: bool, call: Any, advice: str) -> None:
    async def work() -> None:
        await call()

    closing = Driver(work, evict=evict).run()
    assert isinstance(closing, e.RunFailed)
    assert closing.failure.type == "NotDeterministic"
    assert advice in closing.failure.message


async def _later(function: Any) -> None:
    function()


def test_a_loop_that_never_waits_is_found(evict: bool) -> None:
    async def work() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(NotDeterministic, match="without waiting"):
        Driver(work, evict=evict)
