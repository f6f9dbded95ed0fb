"""Steps of queues as workflow code sees them: scheduled once, awaited like any other, cancelled once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flowbook.core import events as e
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, RunId, Seq
from flowbook.core.queues import Limits, Queue
from flowbook.core.retry import RetryPolicy
from flowbook.errors import StepFailed, UserError
from flowbook.runtime.definitions import Step, step
from flowbook.runtime.primitives import sleep
from flowbook.wire import codec
from tests.runtime.driver import Driver, load, save

pytestmark = pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])


@step(queue=Queue("gpu", concurrency=2), priority=3, concurrency_key=lambda name, size: f"of {name}")
def train(name: str, size: int) -> int:
    return size


@step
def local() -> int:
    return 1


def scheduled(driver: Driver) -> list[e.StepScheduled]:
    return [recorded.event for recorded in driver.history if isinstance(recorded.event, e.StepScheduled)]


def elsewhere(driver: Driver) -> Driver:
    """Go on until nothing is left here, then let workers elsewhere end what was scheduled for them."""
    driver.run()
    ended = {getattr(r.event, "key", None) for r in driver.history if not isinstance(r.event, e.StepScheduled)}
    for note in scheduled(driver):
        if note.key not in ended:
            size = codec.decode(note.arguments[1], load)
            done = e.StepCompleted(key=note.key, step=note.step, digest=note.digest, value=codec.encode(size, save))
            driver.mailbox.append(done)
    return driver


def test_what_a_worker_needs_is_one_note(evict: bool) -> None:
    async def work() -> int:
        return await train("a", 7)

    driver = elsewhere(Driver(work, evict=evict))
    assert driver.run() == 7
    (note,) = scheduled(driver)
    assert (note.queue, note.priority, note.concurrency_key) == ("gpu", 3, "of a")
    assert note.options["limits"] == Limits(concurrency=2).plain()
    assert [codec.decode(value, load) for value in note.arguments] == ["a", 7]
    assert not driver.executed


def test_every_branch_is_scheduled_and_awaited_beside_local_steps(evict: bool) -> None:
    async def work() -> list[int]:
        return list(await asyncio.gather(train("a", 1), local(), train("b", 2)))

    driver = elsewhere(Driver(work, evict=evict))
    assert driver.run() == [1, 1, 2]
    assert len(scheduled(driver)) == 2
    assert driver.executed == ["local"]


def test_a_failed_attempt_is_not_taken_up_here(evict: bool) -> None:
    async def work() -> int:
        return await train("a", 7)

    driver = Driver(work, evict=evict)
    driver.run()
    (note,) = scheduled(driver)
    failure = Failure("ValueError", "no")
    driver.mailbox.append(e.StepStarted(key=note.key, step="train"))
    driver.mailbox.append(
        e.StepAttemptFailed(key=note.key, step="train", attempt=1, failure=failure, retry_at=driver.clock)
    )
    driver.run()
    assert not driver.executed and not driver.calls
    driver.mailbox.append(e.StepFailed(key=note.key, step="train", attempt=2, failure=failure))
    last = driver.run()
    assert isinstance(last, e.RunFailed) and len(scheduled(driver)) == 1


def test_one_that_is_no_longer_wanted_is_cancelled_once(evict: bool) -> None:
    async def work() -> str:
        try:
            async with asyncio.timeout(5):
                await train("a", 7)
        except TimeoutError:
            await sleep(3)
            return await local() and "late"
        return "done"

    driver = Driver(work, evict=evict)
    assert driver.run() == "late"
    assert driver.kinds().count("StepCancelled") == 1


def test_one_that_was_never_reported_is_not_scheduled_at_all(evict: bool) -> None:
    async def work() -> str:
        task = asyncio.create_task(_await(train("a", 7)))
        await asyncio.sleep(0)
        task.cancel()
        return "done"

    driver = Driver(work, evict=evict)
    assert driver.run() == "done"
    assert "StepScheduled" not in driver.kinds()


async def _await(call: Any) -> Any:
    return await call


def test_a_fork_takes_its_result_over(evict: bool) -> None:
    async def work() -> int:
        return await train("a", 7)

    first = elsewhere(Driver(work, evict=evict))
    first.run()
    origin = e.Origin(run=RunId("first"), seq=Seq(len(first.history)))
    fork = Driver(work, evict=evict, reuse=first.history, origin=origin)
    assert fork.run() == 7
    assert "StepScheduled" not in fork.kinds() and "StepReused" in fork.kinds()


def test_what_began_here_goes_on_here(evict: bool) -> None:
    """The queue was added to the step while an attempt of it ran."""
    here = Step(train.function, "train", RetryPolicy())

    async def work() -> int:
        return await here("a", 7)

    driver = Driver(work, evict=evict)
    (call,) = driver.execution.calls
    driver._tell(e.StepStarted(key=call.key, step="train"))
    here.queue = Queue("gpu")
    driver.execution.close()
    driver.execution = driver._activate()
    assert driver.run() == 7
    assert not scheduled(driver)


WRONG = [
    ({"priority": 1}, "but no queue"),
    ({"concurrency_key": "a"}, "but no queue"),
    ({"queue": 3}, "write its name"),
    ({"queue": "a/b"}, "cannot be the name"),
    ({"queue": "gpu", "priority": "high"}, "whole number"),
    ({"queue": "gpu", "concurrency_key": 3}, "text, or a function"),
]


@pytest.mark.parametrize(("options", "said"), WRONG, ids=str)
def test_options_that_make_no_sense_are_refused(evict: bool, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        step(name="plain", **options)(lambda: None)


def test_a_failure_elsewhere_is_raised_here(evict: bool) -> None:
    async def work() -> str:
        try:
            await train("a", 7)
        except StepFailed as error:
            return error.type
        return "none"

    driver = Driver(work, evict=evict)
    driver.run()
    (note,) = scheduled(driver)
    failed = e.StepFailed(key=note.key, step="train", digest=Digest(note.digest), failure=Failure("ValueError", "no"))
    driver.mailbox.append(failed)
    assert driver.run() == "ValueError"


def test_a_run_in_a_queue_begins_with_its_turn(evict: bool) -> None:
    async def work() -> int:
        await sleep(10)
        return await local()

    driver = Driver(work, evict=evict, queue="batch")
    driver.send("early", 1)
    driver.run()
    driver.clock += 500
    driver.mailbox.append(e.RunBegan())
    begun = driver.clock
    assert driver.run() == 1
    (timer,) = [recorded.event for recorded in driver.history if isinstance(recorded.event, e.TimerStarted)]
    assert timer.due == begun + 10
