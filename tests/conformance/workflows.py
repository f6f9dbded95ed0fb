"""The workflows the conformance tests run: small, each for one behaviour. What they do is noted in ``outside``."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio

from flowbook import (
    RetryPolicy,
    all_handlers_finished,
    awakeable,
    continue_as_new,
    get_run,
    now,
    on_signal,
    patched,
    query,
    random,
    record,
    saga,
    set_attributes,
    shielded,
    signal,
    sleep,
    step,
    step_context,
    update,
    uuid4,
    workflow,
)
from flowbook.errors import StepFailed
from tests.conformance.outside import outside

# Steps


@step
async def say(what: str) -> str:
    outside.say(what)
    return what


@step
async def slow(what: str, seconds: float = 60.0) -> str:
    outside.say(f"begin {what}")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        outside.say(f"cancelled {what}")
        raise
    outside.say(f"end {what}")
    return what


@step(retry=RetryPolicy(maximum_attempts=3, initial_interval=1.0, backoff_coefficient=2.0))
async def shaky(what: str) -> str:
    outside.try_to(what)
    return what


@step
async def broken(what: str) -> str:
    raise ValueError(what)


@step(retry=RetryPolicy(maximum_attempts=5, non_retryable=("KeyError",)))
async def hopeless() -> None:
    outside.say("hopeless")
    raise KeyError("no use")


@step(timeout="5s", retry=2)
async def late() -> None:
    outside.say("late")
    await asyncio.sleep(3600)


@step(external=True, timeout="1h")
async def ask_outside(who: str) -> None:
    outside.tokens[who] = step_context().token


@step(at_most_once=True)
async def pay(what: str) -> str:
    outside.say(f"pay {what}")
    return what


@step(retry=3)
async def attempt_number() -> list[Any]:
    context = step_context()
    outside.try_to("context")
    return [context.attempt, context.idempotency_key, context.run, context.workflow]


# Signals


@workflow
async def collect(count: int) -> list[Any]:
    return [await signal("item") for _ in range(count)]


@workflow
async def late_collect(count: int) -> list[Any]:
    await sleep("30s")
    return [await signal("item") for _ in range(count)]


@workflow
async def handled() -> list[Any]:
    got: list[Any] = []

    @on_signal("item")
    def item(value: Any) -> None:
        got.append(value)

    await signal("stop")
    return got


@workflow
async def two_names() -> list[Any]:
    second = await signal("b")
    first = await signal("a")
    return [first, second]


@workflow
async def signal_or_time() -> Any:
    try:
        return await signal("go", timeout="10s")
    except TimeoutError:
        return "too late"


@workflow
async def send_to(other: str, name: str, value: Any) -> str:
    try:
        await get_run(other).signal(name, value)
    except StepFailed as error:
        return f"refused: {error.type}"
    return "sent"


# Updates and queries


@workflow
async def cart(limit: int = 3) -> list[str]:
    items: list[str] = []

    @query
    def contents() -> list[str]:
        return items

    @query
    def at(index: int) -> str:
        return items[index]

    @query
    async def wrong() -> None:
        await say("from a query")

    @update
    async def add(item: str) -> int:
        await say(f"add {item}")
        items.append(item)
        return len(items)

    @add.validator
    def _(item: str) -> None:
        if len(items) >= limit:
            raise ValueError("the cart is full")

    @update
    def clear() -> int:
        count = len(items)
        items.clear()
        return count

    @update
    async def bad() -> None:
        raise RuntimeError("no")

    await signal("checkout")
    return items


@workflow
async def late_handler() -> str:
    await sleep("1m")

    @update
    def greet(name: str) -> str:
        return f"hello {name}"

    await signal("stop")
    return "stopped"


# Children


@workflow
async def child(what: str, seconds: float = 0.0) -> str:
    try:
        if seconds:
            await sleep(seconds)
        return await say(f"child {what}")
    except asyncio.CancelledError:
        await shielded(say(f"child {what} cancelled"))
        raise


@workflow
async def failing_child() -> None:
    await broken("inside")


@workflow
async def waiting_child() -> Any:
    return await signal("answer")


@workflow
async def parent(what: str) -> str:
    return f"parent of {await child.start(what)}"


@workflow
async def parent_of_many(count: int) -> list[str]:
    return list(await asyncio.gather(*[child.start(str(number), float(number)) for number in range(count)]))


@workflow
async def parent_of_failure() -> str:
    try:
        await failing_child.start()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "?"


@workflow
async def parent_that_cancels() -> str:
    running = child.start("c", 3600.0, id="the-child")
    await sleep("1s")
    running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        return "cancelled"
    return "?"


@workflow
async def parent_that_signals() -> Any:
    running = waiting_child.start(id="asked")
    await running.signal("answer", 42)
    return await running


@workflow
async def parent_that_ends(close: str) -> str:
    child.start("c", 3600.0, id=f"left-{close}", parent_close=close)
    await sleep("1s")
    return "done"


@workflow
async def parent_that_owes(close: str) -> Any:
    async with saga() as s:
        await s.do(say, "owed", undo=unsay)
        return await child.start("c", 3600.0, id=f"left-{close}", parent_close=close)


@workflow
async def parent_with_limit(limit: float | str) -> Any:
    return await child.start("c", 1.0, timeout=limit)


# Going on, patches, attributes


@workflow
async def counter(left: int, seen: list[Any]) -> list[Any]:
    seen = [*seen, await signal("item")]
    if left > 1:
        continue_as_new(left - 1, seen)
    return seen


@workflow
async def with_update_in_flight(rounds: int) -> int:
    @update
    async def slowly(what: str) -> str:
        await sleep("10s")
        return what

    await signal("next")
    if rounds:
        continue_as_new(rounds - 1)
    return rounds


@workflow
async def goes_on_with(thing: str, rounds: int = 1) -> str:
    @update
    async def slowly(what: str, seconds: float) -> str:
        await sleep(seconds)
        return what

    try:
        await signal("next")
    except asyncio.CancelledError:
        await shielded(say(f"cleaned up {thing}"))
        raise
    if rounds:
        continue_as_new(thing, rounds - 1)
    return "done"


@workflow
async def never_waits(rounds: int = 0) -> None:
    if not rounds:

        @update
        async def slowly(what: str, seconds: float) -> str:
            await sleep(seconds)
            return what

        await signal("next")
    continue_as_new(rounds + 1)


@workflow
async def counts(rounds: int, seen: list[Any] | None = None) -> list[Any]:
    got = list(seen or [])

    @update
    def count() -> int:
        got.append(len(got) + 1)
        return len(got)

    on_signal("item")(got.append)
    await signal("next")
    if rounds:
        continue_as_new(rounds - 1, got)
    return got


@workflow
async def will_not_stop() -> str:
    while True:
        try:
            await sleep("1h")
            return "left alone for an hour"
        except asyncio.CancelledError:
            outside.say("no")


@workflow
async def rounds_for_ever(number: int = 1) -> None:
    try:
        await sleep("1m")
    finally:
        await say(f"round {number}")
    continue_as_new(number + 1)


@workflow
async def goes_on_when_its_time_is_up(number: int = 1) -> None:
    try:
        await sleep("1m")
    except asyncio.CancelledError:
        outside.say("no")
    continue_as_new(number + 1)


@workflow
async def listens(end: str = "") -> list[Any]:
    got: list[Any] = []

    @on_signal("item")
    async def _(value: Any) -> None:
        if value == "boom":
            raise ValueError("boom in the handler")
        await sleep("10s")
        got.append(value)

    @update
    async def slowly(what: str, seconds: float = 10.0) -> str:
        await sleep(seconds)
        got.append(what)
        return what

    try:
        await signal("stop")
    except asyncio.CancelledError:
        await say("cleaned up")
        if end == "stays":
            await sleep("1h")
        elif end == "returns":
            return got
        raise
    if end == "finishes":
        await all_handlers_finished()
    return got


@workflow
async def listens_for_rounds(rounds: int, got: list[Any]) -> list[Any]:
    got = list(got)

    @on_signal("item")
    async def _(value: Any) -> None:
        await sleep("10s")
        got.append(value)

    await signal("next")
    if rounds:
        continue_as_new(rounds - 1, got)
    await all_handlers_finished()
    return got


@workflow
async def listens_anew() -> list[Any]:
    got: list[Any] = []

    @on_signal("item")
    async def _(value: Any) -> None:
        await sleep("10s")
        got.append(f"first {value}")

    await signal("next")

    @on_signal("item")
    async def _(value: Any) -> None:
        await sleep("1s")
        got.append(f"second {value}")

    await signal("stop")
    await all_handlers_finished()
    return got


@workflow
async def validated() -> list[str]:
    got: list[str] = []

    @update
    def add(item: str) -> int:
        got.append(item)
        return len(got)

    @add.validator
    async def _(item: str) -> None:
        if item == "wait":
            await sleep("1s")
        if item == "bad":
            raise ValueError("no such item")

    await signal("stop")
    return got


@workflow
async def goes_on_in(where: str, rounds: int = 1, more: float = 0.0) -> str:
    async def inner(seconds: float = 1.0) -> None:
        await sleep(seconds)
        continue_as_new(where, rounds - 1)

    async def forever() -> None:
        try:
            await sleep("1h")
        finally:
            await shielded(say("cleaned up"))

    @update
    async def go() -> None:
        continue_as_new(where, rounds - 1)

    @update
    async def wait_for_all() -> None:
        await all_handlers_finished()

    @on_signal("go")
    def _(value: Any) -> None:
        continue_as_new(where, rounds - 1)

    if not rounds:
        return "went on"
    match where:
        case "gather":
            await asyncio.gather(inner(), forever())
        case "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(inner())
                group.create_task(forever())
        case "groups":
            async with asyncio.TaskGroup() as group:
                group.create_task(forever())
                async with asyncio.TaskGroup() as inside:
                    inside.create_task(inner())
        case "body":
            async with asyncio.TaskGroup() as group:
                group.create_task(forever())
                await inner()
        case "anyio":
            async with anyio.create_task_group() as nursery:
                nursery.start_soon(forever)
                nursery.start_soon(inner)
        case "two":
            async with asyncio.TaskGroup() as group:
                group.create_task(inner())
                group.create_task(inner())
        case "wrong":
            continue_as_new(where, "none")
        case _:
            await signal("stop")
    return "stayed"


@workflow
async def supervisor(rounds: int) -> str:
    if rounds == 2:
        child.start("kept", 3600.0, id="kept")
    await sleep("1s")
    if rounds:
        continue_as_new(rounds - 1)
    return "done"


@workflow
async def owes_and_goes_on(rounds: int = 1) -> int:
    @update
    async def slowly(what: str, seconds: float) -> str:
        async with saga() as s:
            await s.do(say, what, undo=unsay)
            await sleep(seconds)
        return what

    await signal("next")
    if rounds:
        continue_as_new(rounds - 1)
    return rounds


@workflow
async def labelled() -> None:
    set_attributes(stage="begun", count=1)
    await sleep("1h")
    set_attributes(stage="done", count=None)


@workflow
async def branching() -> str:
    if patched("new-way"):
        return await say("new")
    return await say("old")


# Time, chance, records


@workflow
async def chances() -> list[Any]:
    before = [random(), str(uuid4()), now().isoformat(), await record(lambda: outside.say("recorded"))]
    await sleep("1h")
    return [before, now().isoformat()]


# Steps, their time-outs and their cancellation


@workflow
async def try_shaky(what: str) -> str:
    return await shaky(what)


@workflow
async def try_hopeless() -> str:
    try:
        await hopeless()
    except KeyError as error:
        return f"caught {error}"
    return "?"


@workflow
async def try_late() -> str:
    try:
        await late()
    except TimeoutError:
        return "timed out"
    return "?"


@workflow
async def try_pay() -> str:
    return await pay("rent")


@workflow
async def context_of_a_step() -> Any:
    return await attempt_number()


@workflow
async def cancel_a_step(how: str) -> str:
    if how == "task":
        task = asyncio.ensure_future(slow("it"))
        await sleep("1s")
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return "cancelled"
    elif how == "timeout":
        try:
            async with asyncio.timeout(1):
                await slow("it")
        except TimeoutError:
            return "cancelled"
    elif how == "wait_for":
        try:
            await asyncio.wait_for(slow("it"), 1)
        except TimeoutError:
            return "cancelled"
    elif how == "anyio":
        with anyio.move_on_after(1) as scope:
            await slow("it")
        return "cancelled" if scope.cancelled_caught else "?"
    elif how == "group":
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(slow("it"))
                await sleep("1s")
                raise ValueError("enough")
        except ExceptionGroup:
            return "cancelled"
    return "?"


@workflow
async def outside_step(who: str) -> Any:
    try:
        return await ask_outside(who)
    except Exception as error:
        return f"{type(error).__name__}"


@workflow
async def promise() -> Any:
    waiting = awakeable("answer")
    outside.tokens["promise"] = waiting.token
    return await waiting


# Cancellation of runs


@workflow
async def cleans_up() -> str:
    try:
        await sleep("1h")
    finally:
        await shielded(say("cleaned up"))
    return "?"


@workflow
async def leaves_tasks() -> str:
    async def watch(name: str, seconds: float) -> None:
        try:
            await sleep("1h")
        finally:
            await sleep(seconds)
            await say(f"{name} has cleaned up")

    tasks = [asyncio.create_task(watch("slow", 120.0)), asyncio.create_task(watch("quick", 60.0))]
    await sleep("1s")
    await say(f"done beside {len(tasks)}")
    return "done"


@workflow
async def cleans_up_slowly() -> str:
    try:
        await sleep("1h")
    finally:
        await sleep("1m")
        await say("cleaned up")
    return "?"


@workflow
async def refuses_to_stop() -> str:
    try:
        await sleep("1h")
    except asyncio.CancelledError:
        await say("no")
    return "stayed"


@workflow
async def between_awaits() -> str:
    for number in range(50):
        await slow(str(number), 0.1)
    return "never cancelled"


@workflow
async def compensates(fail: bool) -> str:
    async with saga() as s:
        await s.do(say, "book", undo=unsay)
        await sleep("1h")
        if fail:
            raise ValueError("no")
    return "kept"


@step
async def unsay(what: str) -> None:
    outside.say(f"un{what}")


# Combinators


@workflow
async def combine(how: str) -> Any:
    if how == "gather":
        return list(await asyncio.gather(slow("a", 3), slow("b", 1), slow("c", 2)))
    if how == "as_completed":
        return [await done for done in asyncio.as_completed([slow("a", 3), slow("b", 1), slow("c", 2)])]
    if how == "wait first":
        tasks = [asyncio.ensure_future(slow(name, seconds)) for name, seconds in (("a", 3), ("b", 1))]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return [task.result() for task in done]
    if how == "gather, one fails":
        return [
            item if isinstance(item, str) else type(item).__name__
            for item in await asyncio.gather(say("a"), broken("b"), return_exceptions=True)
        ]
    if how == "first of step and time":
        done, _ = await asyncio.wait(
            [asyncio.ensure_future(slow("a", 60)), asyncio.ensure_future(asyncio.sleep(1, "time"))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        return done.pop().result()
    if how == "race of awakeable and time":
        try:
            async with asyncio.timeout(5):
                return await awakeable("never")
        except TimeoutError:
            return "time"
    if how == "anyio group":
        results: list[str] = []

        async def one(name: str, seconds: float) -> None:
            results.append(await slow(name, seconds))

        async with anyio.create_task_group() as group:
            group.start_soon(one, "a", 2)
            group.start_soon(one, "b", 1)
        return results
    if how == "queue":
        queue: asyncio.Queue[str] = asyncio.Queue(1)

        async def produce() -> None:
            for name in ("a", "b", "c"):
                await queue.put(await say(name))

        task = asyncio.ensure_future(produce())
        got = [await queue.get() for _ in range(3)]
        await task
        return got
    if how == "lock":
        lock, order = asyncio.Lock(), []

        async def guarded(name: str) -> None:
            async with lock:
                order.append(await slow(name, 1))

        await asyncio.gather(*(guarded(name) for name in "abc"))
        return order
    if how == "semaphore":
        room, most, inside = asyncio.Semaphore(2), 0, 0

        async def limited(name: str) -> None:
            nonlocal most, inside
            async with room:
                inside += 1
                most = max(most, inside)
                await slow(name, 1)
                inside -= 1

        await asyncio.gather(*(limited(name) for name in "abcd"))
        return most
    if how == "streams":
        send, receive = anyio.create_memory_object_stream[str](1)

        async def feed() -> None:
            async with send:
                for name in ("a", "b"):
                    await send.send(await say(name))

        got = []
        async with anyio.create_task_group() as group, receive:
            group.start_soon(feed)
            async for name in receive:
                got.append(name)
        return got
    if how == "event":
        event = asyncio.Event()

        async def set_later() -> None:
            await sleep("1s")
            event.set()

        task = asyncio.ensure_future(set_later())
        await event.wait()
        await task
        return "set"
    raise ValueError(how)


@workflow
async def interpret(program: list[Any]) -> list[str]:
    """Run a small random program: each instruction notes what it saw, so that two executions can be compared."""
    seen: list[str] = []

    async def run(instructions: list[Any], where: str) -> None:
        for number, (kind, argument) in enumerate(instructions):
            place = f"{where}.{number}"
            if kind == "step":
                seen.append(await say(f"{place} {argument}"))
            elif kind == "sleep":
                await sleep(float(argument))
                seen.append(f"{place} slept")
            elif kind == "fail":
                try:
                    await broken(place)
                except ValueError:
                    seen.append(f"{place} failed")
            elif kind == "signal":
                seen.append(f"{place} {await signal(argument)}")
            elif kind == "chance":
                seen.append(f"{place} {random():.6f} {uuid4()}")
            elif kind == "together":
                await asyncio.gather(*(run(part, f"{place}{index}") for index, part in enumerate(argument)))
            elif kind == "timeout":
                try:
                    async with asyncio.timeout(argument[0]):
                        await run(argument[1], place)
                except TimeoutError:
                    seen.append(f"{place} timed out")
            elif kind == "child":
                seen.append(await child.start(f"{place} {argument}"))

    await run(program, "p")
    return seen
