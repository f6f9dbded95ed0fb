"""Histories that do not fit into one frame: cut at the engine, put together again at the worker, read by clients."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowbook
from flowbook.core import events as e
from flowbook.engine import links
from flowbook.testing import TestEngine
from flowbook.wire import protocol
from flowbook.worker import held, session

pytestmark = pytest.mark.anyio


@given(st.lists(st.binary(max_size=9), max_size=20), st.integers(1, 12))
def test_pieces_are_the_records_in_order_and_fit(records: list[bytes], room: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(links, "PIECE", room)
        found = links.pieces(records)
    assert [record for piece in found for record in piece] == records
    assert all(len(piece) == 1 or sum(map(len, piece)) <= room for piece in found)
    assert len(found) <= 1 + sum(map(len, records)) * 2 // room + len(records)


@flowbook.step
def tell(number: int) -> int:
    print("x" * 100)
    return number


@flowbook.workflow
async def talkative(count: int) -> int:
    """Every wait drops it from memory, so that its history is sent again, longer each time."""
    total = 0
    for number in range(count):
        total += await tell(number)
        await flowbook.sleep("1m")
    return total


async def test_a_history_longer_than_a_frame_is_activated_inspected_forked_and_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "PIECE", 2_000)
    monkeypatch.setattr(protocol, "MAXIMUM_FRAME", 8_000)
    async with TestEngine(evict=True) as env:
        run = await env.start(talkative, 40)
        assert await run.result() == sum(range(40))
        assert sum(len(repr(event)) for event in run.history) > 8_000
        assert [event.seq for event in run.history] == list(range(1, len(run.history) + 1))
        half = run.history[len(run.history) // 2].seq
        fork = await run.fork(half)
        assert await fork.result() == sum(range(40))
        moment = env._do(env._client.at(run.id, half))
        assert bytes(moment["values"]["count"].data) == b"40"


@flowbook.step
async def page(number: int) -> str:
    return str(number) * 500


@flowbook.workflow
async def many_at_once(count: int) -> int:
    return sum(map(len, await asyncio.gather(*(page(number) for number in range(count)))))


async def test_what_does_not_fit_into_one_report_is_said_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "MOST_ITEMS", 3)
    monkeypatch.setattr(session, "MOST_ITEMS", 3)
    monkeypatch.setattr(links, "PIECE", 2_000)
    monkeypatch.setattr(protocol, "MAXIMUM_FRAME", 8_000)
    async with TestEngine() as env:
        run = await env.start(many_at_once, 50)
        assert await run.result() == 45_000
        ended = [event.event.key for event in run.history if isinstance(event.event, e.StepCompleted)]
        assert len(ended) == len(set(ended)) == 50
