"""Replay: the code of today against a history of yesterday."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import flowbook
from flowbook.core.events import Recorded
from flowbook.errors import HistoryMismatch, UserError
from flowbook.testing import TestEngine, replay

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@flowbook.step
def price(item: str) -> int:
    return len(item)


@flowbook.step
def pack(item: str) -> str:
    return item.upper()


def version(change: str = "") -> flowbook.workflow:  # type: ignore[valid-type]
    """One workflow, as it was and as somebody has edited it."""

    @flowbook.workflow(name="order")
    async def order(item: str) -> tuple[int, str]:
        if change == "order":
            await pack(item)
        cost = await price(item)
        await flowbook.sleep("1h")
        if change == "end":
            raise ValueError(await pack(item))
        packed = await pack(item)
        if change == "more":
            packed = await pack(packed)
        return cost + (change == "result"), packed

    return order


order = version()


async def recorded() -> list[Recorded]:
    async with TestEngine() as env:
        run = await env.start(order, "book")
        assert await run.result() == (4, "BOOK")
        return run.history


async def test_the_same_code_gives_the_same_result() -> None:
    history = await recorded()
    assert replay(history, order) == (4, "BOOK")
    assert replay(history[:-1], order) is None


async def test_a_history_in_a_file(tmp_path: Path) -> None:
    history = await recorded()
    whole, lines, named = tmp_path / "a.json", tmp_path / "b.jsonl", tmp_path / "c.json"
    whole.write_bytes(msgspec.json.encode(history))
    lines.write_bytes(b"\n".join(msgspec.json.encode(one) for one in history))
    named.write_bytes(msgspec.json.encode({"run": "r", "history": history}))
    for path in (whole, lines, named):
        assert replay(path, order) == (4, "BOOK")
        assert replay(str(path), order) == (4, "BOOK")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("order", "step 'price'.*at event 2 of 6: StepCompleted"),
        ("result", r"the run ends differently.*recorded: it returned \(4, 'BOOK'\).*now: +it returned \(5, 'BOOK'\)"),
        ("end", "the code did not ask for|recorded: it returned.*now: +it failed with ValueError: BOOK"),
        ("more", "the code goes on: step 'pack'"),
    ],
)
async def test_the_first_difference_is_named(change: str, said: str) -> None:
    history = await recorded()
    with pytest.raises(HistoryMismatch, match=f"(?s){said}"):
        replay(history, version(change))


async def test_what_is_no_history_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for text in ("", "{}", "[1]", "nonsense"):
        path.write_text(text)
        with pytest.raises(UserError, match="history"):
            replay(path, order)
    with pytest.raises(UserError, match="cannot be read"):
        replay(tmp_path / "none.json", order)
