"""Handles: what generated modules are written with."""

from __future__ import annotations

from typing import Any

import pytest

from flowbook.core import events as e
from flowbook.core.ids import RunId, Seq
from flowbook.errors import UserError
from flowbook.runtime.definitions import step
from flowbook.runtime.primitives import signal, sleep
from flowbook.runtime.results import results
from tests.runtime.driver import Driver

pytestmark = pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])


@step(outputs=("rows", "bad"))
def split(count: int) -> tuple[list[int], int]:
    return list(range(count)), count


@step
def double(row: int, by: int = 2) -> int:
    return row * by


@step
def total(rows: list[int], bad: int = 0) -> int:
    return sum(rows) + bad


@step
def broken(row: int) -> int:
    raise ValueError(f"row {row}")


def test_handles_carry_dataflow_and_unpack(evict: bool) -> None:
    async def work(count: int) -> dict[str, Any]:
        rows, bad = split.start(count)
        doubled = double.map(rows, 10)
        return await results(sum=total.start(doubled, bad))

    driver = Driver(work, 3, evict=evict)
    assert driver.run() == {"sum": 33}
    assert [r.event.total for r in driver.history if isinstance(r.event, e.MapStarted)] == [3]


def test_independent_steps_begin_together(evict: bool) -> None:
    async def work() -> dict[str, Any]:
        return await results(a=double.start(1), b=double.start(2))

    driver = Driver(work, evict=evict)
    driver.turn()
    assert len(driver.calls) + len(driver.execution.calls) >= 1
    assert driver.run() == {"a": 2, "b": 4}


def test_a_map_with_several_outputs_gives_one_list_each(evict: bool) -> None:
    async def work() -> dict[str, Any]:
        rows, bad = split.map([1, 2])
        return await results(rows=rows, bad=bad)

    assert Driver(work, evict=evict).run() == {"rows": [[0], [0, 1]], "bad": [1, 2]}


def test_concurrency_limits_how_many_items_run_at_once(evict: bool) -> None:
    seen: list[int] = []

    async def work() -> dict[str, Any]:
        return await results(out=double.map(list(range(6)), concurrency=2))

    def pick(calls: list[Any]) -> Any:
        seen.append(len(calls))
        return calls[0]

    assert Driver(work, evict=evict, order=pick).run() == {"out": [0, 2, 4, 6, 8, 10]}
    assert max(seen) == 2


def test_every_item_ends_before_a_map_fails(evict: bool) -> None:
    async def work() -> dict[str, Any]:
        return await results(out=broken.map([1, 2, 3]))

    driver = Driver(work, evict=evict)
    closing = driver.run()
    assert isinstance(closing, e.RunFailed)
    assert closing.failure.message == "row 1"
    assert driver.executed == ["broken"] * 3


@pytest.mark.parametrize(("count", "expected"), [(3, {"out": 6, "after": 12}), (1, {"out": None, "after": None})])
def test_when_skips_a_step_and_what_needs_it(evict: bool, count: int, expected: dict[str, Any]) -> None:
    async def work(count: int) -> dict[str, Any]:
        _, bad = split.start(count)
        out = double.when(lambda bad: bad > 1, bad).start(bad)
        return await results(out=out, after=double.start(out))

    assert Driver(work, count, evict=evict).run() == expected


def test_an_earlier_version_stands_in_for_a_skipped_one(evict: bool) -> None:
    async def work() -> dict[str, Any]:
        first = double.start(1)
        second = double.when(lambda first: first > 5, first).start(first).otherwise(first)
        return await results(out=double.start(second))

    assert Driver(work, evict=evict).run() == {"out": 4}


def test_until_repeats_and_feeds_outputs_back(evict: bool) -> None:
    @step(outputs=("row",))
    def grow(row: int) -> int:
        return row * 3

    async def work() -> dict[str, Any]:
        return await results(out=grow.until(lambda row: row > 50, every="10s").start(1))

    driver = Driver(work, evict=evict)
    assert driver.run() == {"out": 81}
    assert driver.clock == 1000 + 3 * 10


@pytest.mark.parametrize(("limits", "words"), [({"timeout": "30s"}, "30 s"), ({"max": 4}, "4 rounds")])
def test_until_gives_up(evict: bool, limits: dict[str, Any], words: str) -> None:
    async def work() -> dict[str, Any]:
        return await results(out=double.until(lambda done: done is None, every="10s", **limits).start(1))

    closing = Driver(work, evict=evict).run()
    assert isinstance(closing, e.RunFailed)
    assert (closing.failure.type, words in closing.failure.message) == ("TimeoutError", True)


def test_until_checks_the_names_of_its_condition(evict: bool) -> None:
    with pytest.raises(UserError, match="reads 'statsu'"):
        double.until(lambda done, statsu: bool(statsu))


def test_waiting_for_signals_and_time(evict: bool) -> None:
    async def work() -> dict[str, Any]:
        told = double.on_signal("row").start(5)
        asked = double.unless_signal("answer", timeout="1h").start(7)
        late = double.delay("2h").start(8)
        bare = signal.start("bare", after=(late,))
        rested = sleep.start("1m", after=(told,))
        return await results(told=told, asked=asked, late=late, bare=bare, rested=rested)

    driver = Driver(work, evict=evict)
    driver.send("row", 3)
    driver.send("bare", "x")
    assert driver.run() == {"told": 15, "asked": 14, "late": 16, "bare": "x", "rested": None}
    assert driver.clock == 1000 + 7200


def test_a_signal_in_time_replaces_the_fallback(evict: bool) -> None:
    async def work() -> dict[str, Any]:
        return await results(asked=double.unless_signal("answer", timeout="1h").start(7))

    driver = Driver(work, evict=evict)
    driver.send("answer", {"approved": True})
    assert driver.run() == {"asked": {"approved": True}}
    assert driver.executed == []


def test_undo_runs_last_first_with_what_is_known(evict: bool) -> None:
    undone: list[tuple[Any, ...]] = []

    @step(outputs=("vm",))
    def create(region: str) -> str:
        return f"vm in {region}"

    @step
    def delete(vm: str | None, region: str) -> None:
        undone.append((vm, region))

    async def work() -> dict[str, Any]:
        first = create.undo(delete).start("a")
        second = create.undo(delete).after(first).start("b")
        return await results(end=broken.after(second).start(1))

    driver = Driver(work, evict=evict)
    assert isinstance(driver.run(), e.RunFailed)
    assert undone == [("vm in b", "b"), ("vm in a", "a")]


def test_undo_runs_when_the_run_is_cancelled(evict: bool) -> None:
    undone: list[Any] = []

    @step
    def delete(row: int) -> None:
        undone.append(row)

    async def work() -> dict[str, Any]:
        first = double.undo(delete).start(4)
        return await results(end=signal.start("never", after=(first,)))

    driver = Driver(work, evict=evict)
    for _ in range(3):
        driver.turn()
    driver.mailbox.append(e.CancelRequested())
    assert isinstance(driver.run(), e.RunCancelled)
    assert undone == [4]


def test_forks_reuse_by_identity_and_content(evict: bool) -> None:
    async def work(fail: bool) -> dict[str, Any]:
        rows, bad = split.start(3)
        doubled = double.map(rows)
        out = total.start(doubled, bad)
        asked = signal.start("go", after=(out,))
        return await results(out=out, asked=asked)

    first = Driver(work, False, evict=evict)
    first.send("go", 1)
    assert first.run() == {"out": 9, "asked": 1}
    origin = e.Origin(RunId("first"), Seq(99), ("total",))
    fork = Driver(work, False, evict=evict, reuse=first.history, origin=origin)
    assert fork.run() == {"out": 9, "asked": 1}
    assert fork.executed == ["total"]
    reused = [r.event for r in fork.history if isinstance(r.event, e.StepReused)]
    assert [event.step for event in reused] == ["split", "double", "double", "double"]
    assert {event.run for event in reused} == {"first"}


def test_what_was_begun_is_finished_before_it_is_undone(evict: bool) -> None:
    seen: list[str] = []

    @step(outputs=("vm",))
    def create() -> str:
        seen.append("created")
        return "vm-1"

    @step
    def delete(vm: str | None) -> None:
        seen.append(f"deleted {vm}")

    async def work() -> dict[str, Any]:
        return await results(vm=create.undo(delete).start())

    driver = Driver(work, evict=evict)
    driver.mailbox.append(e.CancelRequested())
    assert isinstance(driver.run(), e.RunCancelled)
    assert seen == ["created", "deleted vm-1"]
