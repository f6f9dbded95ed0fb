"""Handlers of updates and queries: declared outside, they say what may be sent and what is answered."""

from typing import assert_type

from flowbook import Run, all_handlers_finished, get_run, on_signal, query, update, workflow


@update
async def add(item: str, count: int = 1) -> int: ...  # type: ignore[empty-body]


@query
def content(limit: int = 10) -> list[str]: ...  # type: ignore[empty-body]


@update(name="clear-all")
def clear() -> bool: ...  # type: ignore[empty-body]


@workflow
async def cart(owner: str) -> list[str]:
    items: list[str] = []

    @update
    async def add(item: str, count: int = 1) -> int:
        items.extend([item] * count)
        return len(items)

    @add.validator
    def _(item: str, count: int = 1) -> None:
        if not item:
            raise ValueError("an item has a name")

    @query(name="content")
    def inside(limit: int = 10) -> list[str]:
        return items[:limit]

    @on_signal("drop")
    def drop(item: str) -> None:
        items.remove(item)

    await all_handlers_finished()
    return items


def outside(run: Run[list[str]]) -> None:
    assert_type(run.update(add, "pear"), int)
    assert_type(run.update(add, "pear", count=2), int)
    assert_type(run.update(add, "pear", id="add-1", timeout="10s"), int)
    assert_type(run.start_update(add, "pear").result(), int)
    assert_type(run.update(clear), bool)
    assert_type(run.query(content), list[str])
    assert_type(get_run("other").query(content, limit=3), list[str])
    run.update("add", "pear", 3, id="add-2")
    run.query("content", limit=3)


def wrong(run: Run[list[str]]) -> None:
    run.update(add, 3)  # type: ignore[call-overload]
    run.update(add)  # type: ignore[call-overload]
    run.query(content, limit="many")  # type: ignore[call-overload]
    run.query(add)  # type: ignore[call-overload]
    text: str = run.update(add, "pear")  # type: ignore[assignment]
    print(text)
