"""What a run that has ended still owes: found again by everybody, settled by hand, tried again by a run of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import flowbook
from flowbook.client import asks
from flowbook.core.events import ObligationSettled
from flowbook.errors import NotStarted, RunFailed, UserError
from flowbook.testing import TestEngine
from flowbook.testing.run import TestRun

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Cloud:
    """Machines by name, of which each has a key that asked for it; ``down`` while it deletes nothing."""

    def __init__(self) -> None:
        self.machines: dict[str, str] = {}
        self.down = False
        self.answers = True

    def delete(self, name: str) -> None:
        if self.down:
            raise PermissionError("the cloud is down")
        self.machines.pop(name, None)


cloud = Cloud()


@pytest.fixture(autouse=True)
def a_new_cloud() -> None:
    cloud.__init__()  # type: ignore[misc]


@flowbook.step
def create(name: str, size: int = 1) -> str:
    cloud.machines[name] = flowbook.step_context().idempotency_key
    if not cloud.answers:
        raise ConnectionError("no answer")
    return f"id of {name}"


@flowbook.step(retry=1)
def delete(machine: str) -> None:
    cloud.delete(machine.removeprefix("id of "))


@flowbook.step(retry=1)
def delete_by_key(machine: str | None = None, *, idempotency_key: str) -> None:
    for name in [name for name, key in cloud.machines.items() if key == idempotency_key]:
        cloud.delete(name)


@flowbook.step(retry=1)
def undo(name: str, result: str) -> None:
    assert result == f"id of {name}"
    cloud.delete(name)


@flowbook.step
def never(machine: str) -> bool:
    return False


@flowbook.step
def refuse(machine: str) -> None:
    raise ValueError("no")


@flowbook.workflow
async def renting(name: str) -> str:
    return await flowbook.operation(create, name, poll=never, timeout="1m", cancel=delete)


@flowbook.workflow
async def renting_by_key(name: str) -> str:
    return await flowbook.operation(create, name, poll=never, timeout="1m", cancel=delete_by_key)


@flowbook.workflow
async def building(name: str) -> None:
    async with flowbook.saga() as s:
        made = await s.do(create, name, size=2, undo=undo)
        await s.register(delete, "id of spare")
        await refuse(made)


@flowbook.workflow
async def shy(name: str) -> str:
    @flowbook.step(retry=1)
    def hidden(machine: str) -> None:
        raise PermissionError("not even here")

    return await flowbook.operation(create, name, poll=never, timeout="1m", cancel=hidden)


async def failed(env: TestEngine, workflow: Any, name: str = "a") -> TestRun:
    run = await env.start(workflow, name, id=f"run-{name}")
    with pytest.raises(RunFailed):
        await run.result()
    return run


async def slow(machine: str) -> None:
    """A fake of ``delete`` that takes an hour."""
    await asyncio.sleep(3600)
    cloud.delete("a")


def ask(env: TestEngine, asked: Any) -> Any:
    return env._do(env._client._ask(asked))


def owed(run: TestRun) -> list[Any]:
    return run._summary()["obligations"]


async def retried(env: TestEngine, run: TestRun, which: str = "") -> TestRun:
    summary = ask(env, asks.retry_obligation(run.id, which))
    (trying,) = [each["trying"] for each in summary["obligations"] if each["trying"]]
    return env.run(trying)


def ending(run: TestRun) -> list[str]:
    """The last events, from the one that closed the run."""
    kinds = [type(recorded.event).__name__ for recorded in run.history]
    return kinds[kinds.index("RunFailed") :]


@pytest.mark.parametrize("evict", [False, True])
async def test_it_is_tried_again_until_it_is_settled(evict: bool) -> None:
    async with TestEngine(evict=evict) as env:
        cloud.down = True
        run = await failed(env, renting)
        (left,) = owed(run)
        assert (left["name"], left["failed"], left["undo"], left["trying"]) == ("create", True, "delete", "")
        assert "the cloud is down" in left["error"] and list(cloud.machines) == ["a"]
        first = await retried(env, run)
        with pytest.raises(RunFailed, match="the cloud is down"):
            await first.result()
        assert owed(run)[0]["failed"] and not owed(run)[0]["trying"]
        cloud.down = False
        again = await retried(env, run)
        assert again.id != first.id and await again.result() is None
        assert owed(run) == [] and cloud.machines == {} and run.status == "failed"
        assert ending(run) == [
            "RunFailed", "ObligationRetried", "ObligationFailed", "ObligationRetried", "ObligationSettled",
        ]  # fmt: skip
        with pytest.raises(UserError, match="owes nothing outside"):
            await retried(env, run)


async def test_what_nobody_knows_is_listed_and_taken_back_by_its_key() -> None:
    async with TestEngine() as env:
        cloud.answers, cloud.down = False, True
        run = await failed(env, renting_by_key)
        assert owed(run)[0]["result"] is None and list(cloud.machines) == ["a"]
        cloud.down = False
        await (await retried(env, run)).result()
        assert owed(run) == [] and cloud.machines == {}


async def test_what_nobody_can_take_back_without_a_result_is_settled_by_hand() -> None:
    async with TestEngine() as env:
        cloud.answers = False
        run = await failed(env, renting)
        assert owed(run)[0]["error"].startswith("OutcomeUnknown: it is not known whether step 'create' did its work")
        with pytest.raises(RunFailed, match="'delete' needs what 'create' returned, which is not known"):
            await (await retried(env, run)).result()
        ask(env, asks.settle_obligation(run.id, "create", "deleted in the console"))
        assert owed(run) == []
        settled = run.history[-1].event
        assert isinstance(settled, ObligationSettled) and settled.note == "deleted in the console"


async def test_a_sagas_undos_are_tried_again_with_all_that_is_known() -> None:
    async with TestEngine() as env:
        cloud.down = True
        cloud.machines["spare"] = ""
        run = await failed(env, building)
        assert [(each["name"], each["failed"]) for each in owed(run)] == [("undo", True), ("delete", True)]
        cloud.down = False
        await (await retried(env, run, "undo")).result()
        assert list(cloud.machines) == ["spare"] and [each["name"] for each in owed(run)] == ["delete"]
        await (await retried(env, run, "delete")).result()
        assert cloud.machines == {} and owed(run) == []


async def test_what_is_owed_is_found_again_after_the_engine_was_restarted() -> None:
    async with TestEngine() as env:
        cloud.down = True
        run, other = await failed(env, renting), await failed(env, renting, "b")
        await env.restart_engine()
        assert [each["name"] for each in (*owed(run), *owed(other))] == ["create", "create"]
        ask(env, asks.settle_obligation(run.id, "", "by hand"))
        cloud.down = False
        trial = await retried(env, other)
        await env.restart_engine()
        await trial.result()
        await env.restart_engine()
        assert owed(run) == owed(other) == [] and list(cloud.machines) == ["a"]


async def test_a_trial_that_is_cancelled_leaves_it_owed() -> None:
    async with TestEngine(steps={delete: slow}) as env:
        run = await env.start(renting, "a")
        await run.terminate("enough", now=True)
        trial = await retried(env, run)
        await trial.cancel("enough")
        await env.idle()
        assert trial.status == "cancelled" and list(cloud.machines) == ["a"]
        assert owed(run)[0]["failed"] and not owed(run)[0]["trying"]


async def test_a_step_that_no_other_run_can_find_is_settled_by_hand() -> None:
    async with TestEngine() as env:
        run = await failed(env, shy)
        with pytest.raises(RunFailed, match="'hidden' is not defined at the top level of a module"):
            await (await retried(env, run)).result()
        ask(env, asks.settle_obligation(run.id, "", "by hand"))
        assert owed(run) == []


async def test_a_run_that_goes_on_takes_care_of_it_itself() -> None:
    async with TestEngine() as env:
        run = await env.start(renting, "a")
        with pytest.raises(UserError, match='takes care of "create" itself'):
            ask(env, asks.settle_obligation(run.id, "", "by hand"))
        with pytest.raises(UserError, match='takes care of "create" itself'):
            ask(env, asks.retry_obligation(run.id, ""))


async def test_what_was_left_behind_by_force_is_taken_back_afterwards() -> None:
    async with TestEngine() as env:
        run = await env.start(renting, "a")
        await run.terminate("enough", now=True)
        assert list(cloud.machines) == ["a"] and not owed(run)[0]["failed"]
        await (await retried(env, run)).result()
        assert cloud.machines == {} and owed(run) == []


async def test_a_start_that_says_it_did_nothing_owes_nothing() -> None:
    def refused(name: str, size: int = 1) -> str:
        raise NotStarted("no room")

    async with TestEngine(steps={create: refused}) as env:
        run = await failed(env, renting)
        assert owed(run) == []


async def test_the_workflow_that_takes_back_waits_like_any_other() -> None:
    async with TestEngine(steps={delete: slow}, evict=True) as env:
        run = await env.start(renting, "a")
        await run.terminate("enough", now=True)
        trial = await retried(env, run)
        assert owed(run)[0]["trying"] == trial.id
        with pytest.raises(UserError, match="is trying to take"):
            ask(env, asks.retry_obligation(run.id, ""))
        await trial.result()
        assert owed(run) == []
