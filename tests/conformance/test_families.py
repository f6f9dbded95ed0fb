"""Children and their options, and what runs say to one another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from flowbook import continue_as_new, get_run, on_signal, signal, sleep, workflow
from flowbook.core import events as e
from flowbook.core.queues import Queue
from flowbook.errors import RunFailed, StepFailed, UserError
from flowbook.testing import TestEngine
from tests.conformance.outside import outside
from tests.conformance.workflows import say

pytestmark = pytest.mark.anyio


@workflow
async def tidy(what: str, minutes: float = 60.0) -> str:
    """Takes its time, also to clean up."""
    try:
        await sleep(minutes * 60)
    finally:
        await sleep("1m")
        await say(f"{what} is tidy")
    return what


@workflow
async def stubborn() -> str:
    while True:
        with suppress(asyncio.CancelledError):
            return str(await signal("go"))


# Cancelling


@workflow
async def cancels(how: str, policy: str) -> str:
    child = tidy.start("child", id="child", on_cancel=policy)
    await sleep("1m")
    try:
        if how == "handle":
            child.cancel()
            await child
        else:
            async with asyncio.timeout(60):
                await child
    except (asyncio.CancelledError, TimeoutError) as error:
        outside.say(f"parent has {type(error).__name__}")
    return how


@pytest.mark.parametrize(
    ("how", "policy", "said"),
    [
        ("handle", "request", ["parent has CancelledError", "child is tidy"]),
        ("handle", "wait", ["child is tidy", "parent has CancelledError"]),
        ("timeout", "wait", ["child is tidy", "parent has TimeoutError"]),
    ],
)
async def test_a_parent_waits_for_the_clean_up_of_its_child(
    env: TestEngine, how: str, policy: str, said: list[str]
) -> None:
    async with env:
        run = await env.start(cancels, how, policy)
        assert await run.result() == how
        assert await env.run("child").wait() == "cancelled" and outside.said == said
        sent = [r.event for r in run.history if isinstance(r.event, e.CancelSent)]
        assert len(sent) == (policy == "wait")


@workflow
async def awaits(policy: str) -> str:
    return await tidy.start("child", id="child", on_cancel=policy)


@pytest.mark.parametrize(
    ("policy", "last"), [("request", ["RunCancelled", "RunCancelled"]), ("wait", ["RunCancelled", "RunCancelled"])]
)
async def test_a_cancelled_parent_has_waited_as_well(env: TestEngine, policy: str, last: list[str]) -> None:
    async with env:
        run = await env.start(awaits, policy)
        await env.sleep("1m")
        await run.cancel()
        assert await run.wait() == "cancelled"
        assert env.run("child").status == ("cancelled" if policy == "wait" else "waiting")
        assert await env.run("child").wait() == "cancelled" and outside.said == ["child is tidy"]


async def test_a_wait_for_clean_up_survives_the_loss_of_worker_and_engine(env: TestEngine) -> None:
    async with env:
        run = await env.start(cancels, "handle", "wait")
        await env.sleep("90s")
        await env.restart_worker()
        await env.restart_engine()
        assert await run.result() == "handle"
        assert outside.said == ["child is tidy", "parent has CancelledError"]
        asked = [r for r in env.run("child").history if isinstance(r.event, e.CancelRequested)]
        assert len(asked) == 1


async def test_a_child_that_does_not_stop_is_waited_for(env: TestEngine) -> None:
    async with env:
        run = await env.start(waits_for_a_stubborn_one)
        await env.sleep("1m")
        assert run.status == "waiting"
        await env.run("child").signal("go", "at last")
        assert await run.result() == "cancelled"


@workflow
async def waits_for_a_stubborn_one() -> str:
    child = stubborn.start(id="child", on_cancel="wait")
    await sleep("1s")
    child.cancel()
    try:
        return await child
    except asyncio.CancelledError:
        return "cancelled"


@workflow
async def abandons() -> str:
    child = tidy.start("child", 1.0, id="child", on_cancel="abandon", parent_close="abandon")
    await sleep("1s")
    child.cancel()
    try:
        return await child
    except asyncio.CancelledError:
        return "gone on"


async def test_an_abandoned_child_goes_on(env: TestEngine) -> None:
    async with env:
        assert await (await env.start(abandons)).result() == "gone on"
        assert await env.run("child").result() == "child"


# Other runs


@workflow
async def stops(other: str, reason: str) -> str:
    try:
        await get_run(other).cancel(reason)
    except StepFailed as error:
        return f"refused: {error.type}"
    return "asked"


async def test_a_workflow_cancels_another_run(env: TestEngine) -> None:
    async with env:
        other = await env.start(tidy, "other", id="other")
        run = await env.start(stops, "other", "no longer needed")
        assert await run.result() == "asked"
        assert await other.wait() == "cancelled" and outside.said == ["other is tidy"]
        requests = [r.event for r in other.history if isinstance(r.event, e.CancelRequested)]
        assert [request.reason for request in requests] == ["no longer needed"]
        assert other._summary()["reason"] == "no longer needed"


async def test_a_run_that_has_ended_is_cancelled_already(env: TestEngine) -> None:
    async with env:
        await (await env.start(tidy, "other", 0.0, id="other")).result()
        assert await (await env.start(stops, "other", "")).result() == "asked"
        assert await (await env.start(stops, "nobody", "")).result() == "refused: UnknownRun"


# Options of a start


@workflow
async def named(id: str, name: str = "", queue: int = 0) -> list[Any]:
    return [id, name, queue]


@workflow
async def names_children() -> list[Any]:
    plain = await named.start(id="a", name="b", queue=3)
    both = named.options(id="child", name="the child", queue="some").start_child(id="c", name="d")
    return [plain, await both, both.id]


async def test_a_child_with_parameters_that_are_called_as_options_are(env: TestEngine) -> None:
    async with env:
        run = await env.start(names_children)
        assert await run.result() == [["a", "b", 3], ["c", "d", 0], "child"]
        started = env.run("child").history[0].event
        assert isinstance(started, e.RunStarted) and (started.name, started.queue) == ("the child", "some")


@workflow
async def collects(count: int) -> list[Any]:
    return [await signal("item") for _ in range(count)]


@workflow
async def signals_with_start() -> list[Any]:
    child = collects.start(2, id="child", signal=("item", "first"))
    await child.signal("item", "second")
    return await child


async def test_a_signal_is_delivered_with_the_start_of_a_child(env: TestEngine) -> None:
    async with env:
        assert await (await env.start(signals_with_start)).result() == ["first", "second"]
        kinds = [type(r.event).__name__ for r in env.run("child").history]
        assert kinds[:2] == ["RunStarted", "SignalReceived"]


@workflow
async def joins(item: str) -> list[Any]:
    child = collects.start(3, id="shared", on_conflict="use_existing", signal=("item", item))
    return await child


async def test_a_run_that_is_open_is_used_as_a_child_of_many(env: TestEngine) -> None:
    async with env:
        first = await env.start(joins, "a")
        second = await env.start(joins, "b")
        assert (first.status, second.status) == ("waiting", "waiting")
        await env.run("shared").signal("item", "c")
        assert [await first.result(), await second.result()] == [["a", "b", "c"]] * 2
        assert not any(isinstance(r.event, e.CancelRequested) for r in env.run("shared").history)
        late = await env.start(joins, "d")
        with pytest.raises(RunFailed, match='run "shared" exists already and has succeeded'):
            await late.result()


async def test_whoever_uses_a_run_does_not_end_it(env: TestEngine) -> None:
    async with env:
        shared = await env.start(collects, 3, id="shared")
        user = await env.start(joins, "a")
        assert [type(r.event).__name__ for r in shared.history].count("RunAwaited") == 1
        await user.cancel()
        assert await user.wait() == "cancelled"
        await shared.signal("item", "b")
        await env.restart_engine()
        other = await env.start(joins, "c")
        assert await shared.result() == await other.result() == ["a", "b", "c"]


@workflow
async def misuses(options: dict[str, Any]) -> None:
    await tidy.start("child", **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"id": 5}, "5 cannot be the id of a run: it has to be text, not int"),
        ({"id": "a~2"}, "ids that end in ~ and a number are given out"),
        ({"parent_close": "leave"}, 'parent_close="leave" is not known; it is one of cancel, terminate, abandon'),
        ({"on_cancel": "hurry"}, 'on_cancel="hurry" is not known; it is one of request, wait, abandon'),
        ({"on_conflict": "same"}, 'on_conflict="same" is not known; it is one of fail, use_existing'),
        ({"on_conflict": "use_existing"}, "it needs an id="),
        (
            {"on_conflict": "use_existing", "id": "a", "parent_close": "cancel"},
            'its parent_close and on_cancel are "ab',
        ),
        ({"on_closed": "allow"}, "on_closed=... is no option of a child run"),
        ({"attributes": ["a"]}, r"attributes=\['a'\] is list; write for example attributes="),
        ({"attributes": {"a": []}}, "attribute 'a' is list"),
        ({"memo": 3}, "memo=3 is int"),
        ({"signal": "go"}, r"signal='go' is no signal; write signal=\(name, value\)"),
        ({"timeout": "soon"}, "'soon' is not a duration"),
        ({"queue": 5}, "queue=5 is no queue"),
        ({"priority": 5}, "only in a queue"),
        ({"name": 5}, "the name of the child tidy has to be text, not int"),
        ({"size": 5}, "got an unexpected keyword argument 'size'"),
    ],
)
async def test_options_of_a_child_that_make_no_sense(env: TestEngine, options: dict[str, Any], says: str) -> None:
    async with env:
        with pytest.raises(RunFailed, match=f"UserError: .*{says}"):
            await (await env.start(misuses, options)).result()


@workflow
async def limited() -> None:
    await tidy.start("child", queue=Queue("some", concurrency=1))


@workflow
async def runs_a_child() -> None:
    tidy.run("child")


@pytest.mark.parametrize(
    ("workflow", "says"),
    [
        (limited, "a child names its queue and sets no limits"),
        (runs_a_child, r"write 'await tidy\(...\)' to have it as a part of this run, or 'await tidy.start\(...\)'"),
    ],
)
async def test_what_is_for_runs_that_are_started_outside(env: TestEngine, workflow: Any, says: str) -> None:
    async with env:
        with pytest.raises(RunFailed, match=says):
            await (await env.start(workflow)).result()


# A child that cannot be started


@workflow
async def unsavable() -> str:
    child = tidy.start(x for x in "")
    with pytest.raises(Exception, match="'what' of type generator cannot be saved") as first:
        await child.signal("go")
    with pytest.raises(type(first.value), match="cannot be saved"):
        await child
    waiting = tidy.start(sleep.start("1h"))
    waiting.cancel()
    with pytest.raises(UserError, match="was cancelled before it was started"):
        await waiting.signal("go")
    good = collects.start(1)
    with pytest.raises(type(first.value), match="cannot be saved"):
        await good.signal("item", (x for x in ""))
    with pytest.raises(UserError, match="a signal's name has to be text, not int"):
        await good.signal(5)
    await good.signal("item")
    await good
    return "told"


async def test_a_child_with_arguments_that_cannot_be_saved_takes_no_signal(env: TestEngine) -> None:
    async with env:
        assert await (await env.start(unsavable)).result() == "told"


def test_a_signal_handler_takes_a_value() -> None:
    with pytest.raises(UserError, match=r'@on_signal\("go"\) stands above a function that takes one value'):
        on_signal("go")(lambda: None)
    with pytest.raises(UserError, match="takes the name of the signal"):
        on_signal("")
    on_signal("go")([].append)


# A child of a run that ends at once


@workflow
async def leaves_a_child(how: str, close: str) -> str:
    if how == "told":
        await signal("go")
    tidy.start("child", 0.0, id="child", parent_close=close)
    if how == "fails":
        raise ValueError("no")
    return how


@workflow
async def leaves_a_child_once(how: str, close: str) -> str:
    if how != "again":
        tidy.start("child", 0.0, id="child", parent_close=close)
        continue_as_new("again", close)
    return how


@pytest.mark.parametrize(("close", "status"), [("abandon", "succeeded"), ("cancel", "cancelled")])
@pytest.mark.parametrize(
    ("workflow", "how", "last"),
    [
        (leaves_a_child, "at once", "succeeded"),
        (leaves_a_child, "told", "succeeded"),
        (leaves_a_child, "fails", "failed"),
        (leaves_a_child_once, "goes on", "succeeded"),
    ],
)
async def test_a_child_of_a_run_that_returns_at_once_is_started(
    env: TestEngine, workflow: Any, how: str, last: str, close: str, status: str
) -> None:
    async with env:
        run = await env.start(workflow, how, close)
        if how == "told":
            # The worker re-executes the run from its history to tell it.
            await env.restart_worker()
            await run.signal("go")
        assert await run.wait() == last
        assert await env.run("child").wait() == status


# A child that is waited for when its run ends


async def takes_its_time() -> AsyncIterator[None]:
    try:
        yield
    finally:
        await sleep("1m")


async def waits_for(child: Any) -> None:
    await child


@workflow
async def ends_while_a_task_waits(how: str, close: str) -> str:
    if how == "again":
        await signal("go")
        return how
    child = tidy.start("child", 30.0, id="child", on_cancel="wait", parent_close=close)
    waiting, left = asyncio.create_task(waits_for(child)), takes_its_time()
    await anext(left)
    await sleep("1s")
    if how == "goes on":
        continue_as_new("again", close)
    return "done" if waiting else ""


@pytest.mark.parametrize(("how", "close"), [("goes on", "cancel"), ("ends", "abandon")])
async def test_the_end_of_a_run_asks_no_child_to_stop_that_is_to_go_on(env: TestEngine, how: str, close: str) -> None:
    """The task that waited for it was cancelled at the end, which is no wish that it stops."""
    async with env:
        run = await env.start(ends_while_a_task_waits, how, close)
        assert await env.run("child").result() == "child"
        if how == "goes on":
            await env.run(f"{run.id}~2").signal("go")
        assert await run.result() == ("again" if how == "goes on" else "done")
