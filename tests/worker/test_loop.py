"""A worker's loop goes on when a step would end it, and the step hears of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from flowbook.worker.loop import WorkerLoop


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    with asyncio.Runner(loop_factory=WorkerLoop) as runner:
        return runner.run(work())


async def raises(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_what_a_task_of_a_step_raises_goes_to_who_awaits_it_and_to_nobody_else(error: BaseException) -> None:
    async def step() -> None:
        await asyncio.gather(raises(error), asyncio.sleep(60))

    async def other() -> str:
        for _ in range(5):
            await asyncio.sleep(0.001)
        return "done"

    async def main() -> list[Any]:
        return await asyncio.gather(other(), asyncio.wait([asyncio.create_task(step())]))

    done, (ended, _) = run(main)
    assert done == "done" and [task.exception() for task in ended] == [error]


def test_an_exit_from_a_callback_is_survived() -> None:
    async def main() -> str:
        asyncio.get_running_loop().call_soon(sys.exit)
        await asyncio.sleep(0.01)
        return "done"

    assert run(main) == "done"


def test_a_step_cannot_stop_it() -> None:
    async def main() -> None:
        asyncio.get_running_loop().stop()

    with pytest.raises(RuntimeError, match="a step cannot stop the event loop"):
        run(main)


def test_a_step_that_runs_it_again_is_refused_as_ever() -> None:
    async def main() -> None:
        work = asyncio.sleep(0)
        try:
            asyncio.get_running_loop().run_until_complete(work)
        finally:
            work.close()

    with pytest.raises(RuntimeError, match="already running"):
        run(main)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as a terminal's programs have it: those that a shell starts in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("times", [1, 2])
def test_it_can_be_interrupted(times: int, interruptible: None) -> None:
    async def main() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(60)
        finally:
            if times == 2:
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        run(main)
