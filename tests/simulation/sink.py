"""The kitchen-sink workflow: does what a generated tree of actions says, with everything workflow code may use.

What steps do outside is noted in ``world``, which stands for the outside world.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import anyio

import flowbook
from flowbook.core.retry import RetryPolicy
from flowbook.errors import StepFailed
from flowbook.runtime.children import start_child
from flowbook.runtime.definitions import Workflow, step
from flowbook.runtime.elsewhere import other_run
from flowbook.runtime.handles import launch
from flowbook.runtime.results import results

Node = dict[str, Any]


class Outside:
    """What steps have done, by run and node: begun, done."""

    def __init__(self) -> None:
        self.begun: Counter[tuple[str, int]] = Counter()
        self.done: Counter[tuple[str, int]] = Counter()

    def promise(self, token: str, n: int) -> None:
        """Somebody will answer ``token`` with ``n``."""

    def interrupt(self) -> None:
        """A chance for the process to die in the middle of a step; raises where it did."""

    def begin(self, run: str, n: int) -> int:
        self.interrupt()
        self.begun[run, n] += 1
        return self.begun[run, n]

    def end(self, run: str, n: int) -> int:
        self.interrupt()
        self.done[run, n] += 1
        return n


world = Outside()

PATIENT = RetryPolicy(maximum_attempts=3, initial_interval=1.0)


@step
def plain(run: str, n: int) -> int:
    world.begin(run, n)
    return world.end(run, n)


@step(retry=2, timeout=5)
async def slow(run: str, n: int, seconds: float) -> int:
    world.begin(run, n)
    await asyncio.sleep(seconds)
    return world.end(run, n)


@step(retry=PATIENT)
def flaky(run: str, n: int, failures: int) -> int:
    if world.begin(run, n) <= failures:
        raise ConnectionError(f"node {n}")
    return world.end(run, n)


@step
async def failing(run: str, n: int) -> int:
    world.begin(run, n)
    raise ValueError(f"node {n}")


@step
def item(pair: list[Any], n: int) -> int:
    run, index = pair
    world.begin(run, n)
    world.end(run, n)
    return index * 10


@step
async def book(run: str, n: int) -> int:
    world.begin(run, n)
    await asyncio.sleep(0.5)
    return world.end(run, n)


@step(retry=PATIENT)
def unbook(run: str, n: int) -> None:
    world.begin(run, -n)
    world.end(run, -n)


@step
def settle_in(run: str, n: int) -> None:
    """What ``clear_up`` is for."""


@step
def clear_up(run: str, n: int) -> None:
    """See ``invariants``: where this is not done, nobody has waited for a task that was left."""


@step(at_most_once=True)
async def once(run: str, n: int) -> int:
    world.begin(run, n)
    await asyncio.sleep(0.2)
    return world.end(run, n)


@step(queue="there")
async def there(run: str, n: int, seconds: float) -> int:
    world.begin(run, n)
    await asyncio.sleep(seconds)
    return world.end(run, n)


@step
def begin_operation(run: str, n: int) -> list[Any]:
    world.begin(run, n)
    world.end(run, n)
    return [run, n]


@step
def poll_operation(begun: list[Any]) -> int | None:
    run, n = begun
    return n if world.begin(run, POLLS - n) > 2 else None


@step(retry=PATIENT)
def end_operation(begun: list[Any]) -> None:
    run, n = begun
    world.end(run, -n)


@step
def promise(token: str, n: int) -> None:
    world.promise(token, n)


POLLS = -1_000_000
"""Polls of an operation are counted under a number of their own."""


class Boom(Exception):
    pass


async def perform(run: str, node: Node) -> Any:
    action = ACTIONS[node["do"]]
    return await action(run, node)


async def _of(run: str, node: Node) -> list[Any]:
    return [await perform(run, inner) for inner in node["of"]]


async def _plain(run: str, node: Node) -> Any:
    return ["ok", await plain(run, node["n"])]


async def _slow(run: str, node: Node) -> Any:
    try:
        return ["ok", await slow(run, node["n"], node["d"])]
    except TimeoutError:
        return ["failed", "TimeoutError"]


async def _flaky(run: str, node: Node) -> Any:
    try:
        return ["ok", await flaky(run, node["n"], node["failures"])]
    except StepFailed as error:
        return ["failed", error.type]


async def _failing(run: str, node: Node) -> Any:
    try:
        return ["ok", await failing(run, node["n"])]
    except ValueError as error:
        return ["failed", error.type]  # type: ignore[attr-defined]


async def _sleep(run: str, node: Node) -> Any:
    await (flowbook.sleep(node["d"]) if node["n"] % 2 else asyncio.sleep(node["d"]))
    return ["slept"]


async def _timeout(run: str, node: Node) -> Any:
    inner = perform(run, node["of"][0])
    try:
        match node["how"]:
            case "timeout":
                async with asyncio.timeout(node["d"]):
                    return await inner
            case "wait_for":
                return await asyncio.wait_for(inner, node["d"])
            case "anyio":
                with anyio.move_on_after(node["d"]):
                    return await inner
            case _:
                with anyio.fail_after(node["d"]):
                    return await inner
    except TimeoutError:
        pass
    return ["timeout"]


async def _sequence(run: str, node: Node) -> Any:
    return ["all", await _of(run, node)]


async def _gather(run: str, node: Node) -> Any:
    return ["all", list(await asyncio.gather(*(perform(run, inner) for inner in node["of"])))]


async def _boom(run: str, node: Node) -> None:
    await asyncio.sleep(node["d"])
    raise Boom


async def _group(run: str, node: Node) -> Any:
    tasks = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(perform(run, inner)) for inner in node["of"]]
            if node["boom"]:
                group.create_task(_boom(run, node))
    except* Boom:
        return_value: Any = ["boom"]
    else:
        return_value = ["all", [task.result() for task in tasks]]
    return return_value


async def _nursery(run: str, node: Node) -> Any:
    found: dict[int, Any] = {}

    async def one(index: int, inner: Node) -> None:
        found[index] = await perform(run, inner)

    try:
        async with anyio.create_task_group() as group:
            for index, inner in enumerate(node["of"]):
                group.start_soon(one, index, inner)
            if node["boom"]:
                group.start_soon(_boom, run, node)
    except* Boom:
        return_value: Any = ["boom"]
    else:
        return_value = ["all", [found[index] for index in range(len(node["of"]))]]
    return return_value


async def _first(run: str, node: Node) -> Any:
    tasks = [asyncio.create_task(perform(run, inner)) for inner in node["of"]]
    _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return ["first", [None if task.cancelled() else task.result() for task in tasks]]


async def _lock(run: str, node: Node) -> Any:
    lock, inside = asyncio.Lock(), 0

    async def one(inner: Node) -> Any:
        nonlocal inside
        async with lock:
            inside += 1
            assert inside == 1
            try:
                return await perform(run, inner)
            finally:
                inside -= 1

    return ["all", list(await asyncio.gather(*(one(inner) for inner in node["of"])))]


async def _queue(run: str, node: Node) -> Any:
    queue: asyncio.Queue[tuple[int, Any]] = asyncio.Queue(maxsize=1)

    async def one(index: int, inner: Node) -> None:
        await queue.put((index, await perform(run, inner)))

    tasks = [asyncio.create_task(one(index, inner)) for index, inner in enumerate(node["of"])]
    found = dict([await queue.get() for _ in tasks])
    return ["all", [found[index] for index in range(len(tasks))]]


async def _signal(run: str, node: Node) -> Any:
    got: list[Any] = []
    for _ in range(node["count"]):
        try:
            got.append(await flowbook.signal(node["name"], timeout=node["d"]))
        except TimeoutError:
            got.append(None)
    return ["got", got]


async def _cancel(run: str, node: Node) -> Any:
    task = asyncio.create_task(perform(run, node["of"][0]))
    await asyncio.sleep(node["d"])
    task.cancel()
    await asyncio.wait([task])
    return ["cancelled"] if task.cancelled() else task.result()


async def _shield(run: str, node: Node) -> Any:
    return await asyncio.shield(asyncio.ensure_future(perform(run, node["of"][0])))


async def _leave(run: str, node: Node) -> Any:
    is_in = asyncio.Event()

    async def stay() -> None:
        try:
            await settle_in(run, node["n"])
            is_in.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(node["d"])
            await clear_up(run, node["n"])

    staying = asyncio.create_task(stay())
    await is_in.wait()
    return ["left", staying.done()]


async def _draw(run: str, node: Node) -> Any:
    return ["drawn", flowbook.random(), str(flowbook.uuid4()), flowbook.now().timestamp()]


async def _record(run: str, node: Node) -> Any:
    def noted(run: str, n: int) -> int:
        world.begin(run, n)
        return world.end(run, n)

    return ["ok", await flowbook.record(noted, run, node["n"])]


async def _map(run: str, node: Node) -> Any:
    pairs = [[run, index] for index in range(node["items"])]
    return ["mapped", await item.map(pairs, node["n"], concurrency=node["concurrency"])]


async def _once(run: str, node: Node) -> Any:
    try:
        return ["ok", await once(run, node["n"])]
    except StepFailed as error:
        return ["failed", error.type]


async def _there(run: str, node: Node) -> Any:
    return ["ok", await there(run, node["n"], node["d"])]


async def _saga(run: str, node: Node) -> Any:
    try:
        async with flowbook.saga() as done:
            await done.do(book, run, node["n"], undo=unbook)
            inner = await perform(run, node["of"][0])
            if node["boom"]:
                raise Boom
            return ["saga", inner]
    except Boom:
        return ["undone"]


async def _operation(run: str, node: Node) -> Any:
    start, poll, cancel = begin_operation, poll_operation, end_operation
    return ["ok", await flowbook.operation(start, run, node["n"], poll=poll, every="1s", cancel=cancel)]


async def _child(run: str, node: Node) -> Any:
    id = f"{run}.{node['n']}"  # noqa: A001
    try:
        return ["child", await start_child(sink, (id, node["of"][0], []), {}, {"id": id})]
    except StepFailed as error:
        return ["child failed", error.type]


async def _stop(run: str, node: Node) -> Any:
    """A child that waits for ever is asked to stop, as any other run may be."""
    id = f"{run}.{node['n']}"  # noqa: A001
    child = start_child(sink, (id, {"do": "wait", "n": 0}, []), {}, {"id": id, "on_cancel": "wait"})
    await child.signal("hello")
    await other_run(id).cancel("enough")
    try:
        return ["not stopped", await child]
    except StepFailed as error:
        return ["stopped", error.type]


async def _message(run: str, node: Node) -> Any:
    """A letter to oneself."""
    name = f"m{node['n']}"
    _, value = await asyncio.gather(other_run(run).signal(name, node["n"]), flowbook.signal(name))
    return ["told", value]


async def _awakeable(run: str, node: Node) -> Any:
    promised = flowbook.awakeable(f"a{node['n']}")
    await promise(promised.token, node["n"])
    return ["answered", await promised]


async def _patched(run: str, node: Node) -> Any:
    flowbook.set_attributes(node=node["n"])
    return ["new"] if flowbook.patched(f"p{node['n']}") else ["old"]


async def _wait(run: str, node: Node) -> None:
    await flowbook.signal("never")


async def _raise(run: str, node: Node) -> Any:
    raise Boom(f"node {node['n']}")


ACTIONS = {
    "plain": _plain,
    "slow": _slow,
    "flaky": _flaky,
    "failing": _failing,
    "sleep": _sleep,
    "timeout": _timeout,
    "sequence": _sequence,
    "gather": _gather,
    "group": _group,
    "nursery": _nursery,
    "first": _first,
    "lock": _lock,
    "queue": _queue,
    "signal": _signal,
    "cancel": _cancel,
    "shield": _shield,
    "leave": _leave,
    "draw": _draw,
    "record": _record,
    "map": _map,
    "once": _once,
    "there": _there,
    "saga": _saga,
    "operation": _operation,
    "child": _child,
    "stop": _stop,
    "message": _message,
    "awakeable": _awakeable,
    "patched": _patched,
    "raise": _raise,
    "wait": _wait,
}


async def _sink(
    run: str,
    tree: Node,
    books: list[int],
    rounds: int = 0,
    kept: str = "",
    before: list[Any] | None = None,
    bumps: list[int] | None = None,
) -> Any:
    """What the tree says, once, or round after round where a list ``before`` is given, with what was heard in all."""
    heard = list(bumps or [])

    @flowbook.update
    async def add(value: int) -> int:
        return await plain(run, UPDATES + value) - UPDATES + 1

    @add.validator
    def _(value: int) -> None:
        if value % 3 == 0:
            raise ValueError("no multiples of three")

    if before is None:
        return await _body(run, tree, books)

    @flowbook.on_signal("bump")
    async def _(value: int) -> None:
        await plain(run, BUMPS + value)
        heard.append(value)

    if kept:
        id = f"{run}.kept"  # noqa: A001
        start_child(sink, (id, {"do": "wait", "n": 0}, []), {}, {"id": id, "parent_close": kept})
    name = f"{run}~{rounds}" if rounds or before else run
    done = [*before, await _body(name, tree, books)]
    if rounds:
        flowbook.continue_as_new(run, tree, books, rounds - 1, "", done, heard)
    await flowbook.all_handlers_finished()
    return [done, heard]


UPDATES = 1_000_000
"""Steps of update handlers are numbered from here."""

BUMPS = 2_000_000
"""Steps of the signal handler are numbered from here."""


async def _body(run: str, tree: Node, books: list[int]) -> Any:
    if not books:
        return await perform(run, tree)
    booked = [book.undo(unbook).start(run, n) for n in books]
    out = launch(lambda: perform(run, tree), after=tuple(booked[:1]), label="body")
    return (await results(out=out))["out"]


sink = Workflow(_sink, "sink")
