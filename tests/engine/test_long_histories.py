"""Histories that do not fit into one frame: cut at the engine, put together again at the worker, read by clients."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowbook
from flowbook.core import events as e
from flowbook.core.ids import RunId, Seq, WorkerId
from flowbook.testing import TestEngine
from flowbook.wire import protocol
from flowbook.worker import held, outbox
from flowbook.worker.workplace import Workplace
from tests.engine.conftest import Project
from tests.engine.scripted import ScriptedWorker

pytestmark = pytest.mark.anyio


def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "PIECE", 2_000)
    monkeypatch.setattr(protocol, "MAXIMUM_FRAME", 8_000)
    monkeypatch.setattr(protocol, "ROOM", 500)


@given(st.lists(st.binary(max_size=9), max_size=20), st.integers(1, 12))
def test_pieces_are_the_records_in_order_and_fit(records: list[bytes], room: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "PIECE", room)
        found = protocol.pieces(records, len)
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
    small_frames(monkeypatch)
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


@pytest.mark.parametrize("most", [3, held.MOST_ITEMS], ids=["by number", "by size"])
async def test_what_does_not_fit_into_one_report_is_said_in_several(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(held, "MOST_ITEMS", most)
    monkeypatch.setattr(outbox, "MOST_ITEMS", most)
    small_frames(monkeypatch)
    async with TestEngine() as env:
        run = await env.start(many_at_once, 50)
        assert await run.result() == 45_000
        ended = [event.event.key for event in run.history if isinstance(event.event, e.StepCompleted)]
        assert len(ended) == len(set(ended)) == 50


@flowbook.step
async def sheet(number: int, length: int) -> str:
    return str(number) * length


@flowbook.workflow
async def one_is_too_large() -> int:
    return len(await asyncio.gather(*(sheet(number, 9_000 if number == 4 else 700) for number in range(8))))


async def test_one_item_that_does_not_fit_pauses_its_run_and_keeps_what_came_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small_frames(monkeypatch)
    async with TestEngine() as env:
        run = await env.start(one_is_too_large)
        with pytest.raises(flowbook.errors.FlowbookError, match=r"cannot be recorded: .* bytes, more than the 7,500"):
            await run.result()
        kinds = [type(recorded.event) for recorded in run.history]
        assert kinds == [e.RunStarted, *[e.StepCompleted] * 4, e.RunPaused]


def test_what_an_engine_left_unanswered_is_said_to_the_next_in_reports_that_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small_frames(monkeypatch)
    place, run = Workplace(cast(Any, None)), RunId("r")
    holder = held.HeldRun(run, "old", WorkerId("w"), place, lambda held, attempt: None, cast(Any, None))
    said = [e.RunOutput((e.Chunk("stdout", str(number) * 300),), Seq(number)) for number in range(9)]
    for item in said:
        holder._outbox = [item]
        assert holder.report() is not None
    holder.commit(protocol.Commit(run, (), lease="new"))
    whole = holder.report()
    assert whole is not None and whole.items == tuple(said)
    parts = holder.cut(whole)
    assert [(part.lease, part.number) for part in parts] == [("new", number) for number in range(1, len(parts) + 1)]
    assert [item for part in parts for item in part.items] == said
    assert all(len(protocol.pack(part)) < 2_500 for part in parts) and len(parts) > 1
    holder.commit(protocol.Commit(run, (), reports=len(parts)))
    assert not holder._unanswered


async def test_an_answer_that_does_not_fit_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        project.engine(),
        project.client() as client,
        ScriptedWorker(project.home.folder) as worker,
    ):
        await project.start(client)
        await worker.take("r1")
        for number in range(5):
            await worker.report("r1", e.RunOutput((e.Chunk("stdout", "x" * 900),), Seq(number)))
        monkeypatch.setattr(protocol, "MAXIMUM_FRAME", 4_000)
        with pytest.raises(flowbook.errors.UserError, match="the answer is too large"):
            await client.history("r1")
        assert (await client.run("r1"))["status"] == "running"
