"""Handles: results on their way."""

from typing import assert_type

from flowbook import step, workflow
from flowbook.runtime.handles import Handle


@step
def load(order: str) -> dict[str, int]:
    return {order: 1}


@step
async def draw(order: dict[str, int]) -> str:
    return str(order)


@workflow
async def report(orders: list[str]) -> list[str]:
    loading = load.start("a")
    assert_type(loading, Handle[dict[str, int]])
    assert_type(await loading, dict[str, int])
    # A handle is given where its result is wanted, so what `start` takes is not checked.
    assert_type(await draw.start(loading), str)
    assert_type(draw.when(lambda order: bool(order), loading).start(loading), Handle[str | None])
    assert_type(draw.when(bool, loading).start(loading).otherwise("none"), Handle[str | None])
    assert_type(load.map(orders, concurrency=2), Handle[list[dict[str, int]]])
    assert_type(await draw.map(load.map(orders)), list[str])
    assert_type(await load.delay("1s").after(loading).start("b"), dict[str, int])
    charts: list[str] = await draw.map([{"a": 1}])
    return charts


async def wrong(orders: list[str]) -> None:
    chart: int = await draw.start({"a": 1})  # type: ignore[assignment]
    await load.map([1, 2])  # type: ignore[list-item]
    counts: list[int] = await load.map(orders)  # type: ignore[assignment]
    print(chart, counts)
