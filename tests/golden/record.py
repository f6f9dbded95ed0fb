"""``python -m tests.golden.record [NAME ...]``: record histories that are not there yet; those that are stay."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from flowbook.client import asks, queue_asks
from flowbook.core import queues as q
from flowbook.core import schedule as s
from flowbook.core import scheduling
from flowbook.core.events import RunStarted
from flowbook.core.ids import RunId, Seq
from flowbook.core.messages import MoveRun, PauseRun, StartRun
from flowbook.engine.told import Told
from flowbook.errors import RunFailed
from flowbook.testing import TestEngine, TestRun
from tests.core.test_schedule import HOUR, T0, Life
from tests.golden import workflows as w
from tests.worker.test_attempts import streams

FOLDER = Path(__file__).parent / "histories"
STREAMS = Path(__file__).parent / "streams"

Scenario = Callable[[TestEngine], Awaitable[TestRun]]


async def plain(env: TestEngine, workflow: Any, *args: Any) -> TestRun:
    return await env.start(workflow, *args, id=workflow.name)


async def _messages(env: TestEngine) -> TestRun:
    run = await plain(env, w.messages)
    await run.signal("note", "a")
    await run.update("add", 2)
    try:
        await run.update("add", -1)
    except Exception as error:
        assert "negative" in str(error)
    await run.signal("stop", "end")
    return run


async def _outside(env: TestEngine) -> TestRun:
    from flowbook.core.events import StepWaiting
    from flowbook.core.ids import RunId
    from flowbook.core.token import token

    run = await plain(env, w.outside)
    waiting = next(r.event for r in run.history if isinstance(r.event, StepWaiting))
    await env.complete(token(RunId(run.id), waiting.key), 5)
    return run


async def _counting(env: TestEngine) -> TestRun:
    run = await plain(env, w.counting, 2, [])
    await run.signal("item", 1)
    await run.signal("item", 2)
    return run


async def _cancelled(env: TestEngine) -> TestRun:
    run = await env.start(w.time_and_chance, id="cancelled")
    await env.sleep("10m")
    await run.cancel("enough")
    return run


async def _terminated(env: TestEngine) -> TestRun:
    run = await env.start(w.long_operation, id="terminated")
    await env.sleep("15s")
    await run.terminate("enough")
    return run


async def _tells(env: TestEngine) -> TestRun:
    await plain(env, w.messages)
    return await plain(env, w.tells)


async def _forked(env: TestEngine) -> TestRun:
    await (await plain(env, w.steps)).wait()
    return await env.run("steps").fork(at=3)


async def _in_turn(env: TestEngine) -> TestRun:
    """Started in a queue, which is no option of a test engine's own."""
    run = await plain(env, w.waits_long)
    first = run.history[0].event
    assert isinstance(first, RunStarted)
    start = StartRun(
        run=RunId("in_turn"), workflow="in_turn", module=first.module, place=first.place, queue="batch", priority=1
    )
    env._do(env._client.ask(queue_asks.started(start)))
    return env.run("in_turn")


async def _moved(env: TestEngine) -> TestRun:
    """Paused by hand, moved to other code that is the same, and let go on."""
    run = await plain(env, w.waits_long)
    await env.idle()
    host = env._world_now.host
    assert host is not None
    host.engine.tell(Told(RunId(run.id), [PauseRun("somebody has a look")]))
    await env.idle()
    first = run.history[0].event
    assert isinstance(first, RunStarted)
    host.engine.tell(Told(RunId(run.id), [MoveRun(first.module, source="moved.py")]))
    await env.idle()
    await run.signal("go", "on")
    return run


async def _owed_again(env: TestEngine) -> TestRun:
    """It fails owing something, which a run of its own takes back, and then it is said that the rest is seen to."""
    run = await plain(env, w.owed_again)
    await env.idle()
    env._do(env._client.ask(asks.retry_obligation(run.id, "")))
    await env.idle()
    return run


async def _begun_in_vain(env: TestEngine) -> TestRun:
    run = await plain(env, w.begun_in_vain)
    await env.sleep("10s")
    await run.cancel("enough")
    return run


async def _cancels(env: TestEngine) -> TestRun:
    await plain(env, w.waits_long)
    return await plain(env, w.cancels)


async def _went_on(env: TestEngine) -> TestRun:
    """The second run of a chain, which has a child of the first."""
    await plain(env, w.goes_on, 1)
    await env.sleep("2s")
    return env.run("goes_on~2")


async def _shared(env: TestEngine) -> TestRun:
    """The run that another one waits for besides who started it."""
    run = await plain(env, w.waits_long)
    await plain(env, w.shares)
    await env.idle()
    await run.signal("go", "on")
    return run


SCENARIOS: dict[str, Scenario] = {
    **{
        flow.name: lambda env, flow=flow: plain(env, flow)  # type: ignore[misc]
        for flow in (
            w.steps,
            w.failures,
            w.time_and_chance,
            w.children,
            w.long_operation,
            w.taken_back,
            w.labelled,
            w.fan_out,
            w.elsewhere,
            w.at_length,
            w.owes_for_good,
            w.annotated,
            w.structures,
        )
    },
    "messages": _messages,
    "outside": _outside,
    "counting": _counting,
    "cancelled": _cancelled,
    "terminated": _terminated,
    "at_times": lambda env: plain(env, w.at_times, 5),
    "tells": _tells,
    "forked": _forked,
    "in_turn": _in_turn,
    "moved": _moved,
    "owed_again": _owed_again,
    "begun_in_vain": _begun_in_vain,
    "cancels": _cancels,
    "shared": _shared,
    "went_on": _went_on,
}


async def recorded(name: str) -> bytes:
    """The history as JSON lines, from a run on a virtual clock."""
    w.tries.update(shaky=0, polls=0, removals=0)
    # As in a worker process, where what is printed belongs to the run.
    with streams():
        return await _recorded(name)


async def _recorded(name: str) -> bytes:
    async with TestEngine() as env:
        run = await SCENARIOS[name](env)
        try:
            await run.wait()
        except RunFailed:
            pass
        lines = b"".join(msgspec.json.encode(event) + b"\n" for event in run.history)
    places = {sys.executable: "python", str(Path.cwd()): "/project", sys.prefix: "/python", sys.base_prefix: "/python"}
    for path, name in places.items():
        lines = lines.replace(path.encode(), name.encode())
    return lines


class _Recorder(Life):
    """Remembers when it was told what."""

    def __init__(self, **options: object) -> None:
        self.times: list[float] = []
        super().__init__(**options)

    def tell(self, message: s.AnyScheduleMessage) -> list[s.AnyScheduleEvent]:
        events = super().tell(message)
        self.times += [self.now] * len(events)
        return events


def schedule_stream() -> list[Any]:
    """A schedule's whole life, with every kind of event in it, and a sum before its end."""
    before, scheduling.SUM_EVERY = scheduling.SUM_EVERY, 10
    try:
        life = _Recorder(
            limit=3, overlap="buffer_one", catch_up=3 * HOUR, timezone="Europe/Oslo", crons=("30 * * * *",)
        )
        life.at(1)
        life.at(2)
        life.ends(0.5, "failed", reason="ValueError: no")
        life.tell(s.PauseSchedule("holiday"))
        life.tell(s.TriggerSchedule("allow_all", "t"))
        life.tell(s.ResumeSchedule())
        life.tell(s.BackfillSchedule(T0 + HOUR, T0 + 2 * HOUR, "", "b"))
        for run in list(life.state.running):
            life.tell(s.ScheduledRunEnded(run, "succeeded"))
        life.at(20)
        for run in list(life.state.running):
            life.tell(s.ScheduledRunEnded(run, "continued", RunId(f"{run}~2")))
        while life.state.running:
            life.tell(s.ScheduledRunEnded(next(iter(life.state.running)), "succeeded"))
        life.at(22)
        life.tell(s.DeleteSchedule())
    finally:
        scheduling.SUM_EVERY = before
    told = zip(life.times, life.log, strict=True)
    return [s.ScheduleRecorded(Seq(number), at, event) for number, (at, event) in enumerate(told, 1)]


def queue_stream() -> list[Any]:
    """A queue's."""
    events = (
        q.QueueLimited(q.Limits(concurrency=4, rate=q.Rate(10, 60.0)), "code"),
        q.QueueLimited(q.Limits(worker_concurrency=1, key_concurrency=0)),
        q.QueuePaused("driver update"),
        q.QueueResumed(),
        q.QueuePaused(),
        q.QueueDeleted(),
    )
    return [q.QueueRecorded(Seq(number), 100.0 + number, event) for number, event in enumerate(events, 1)]


OF_STREAMS = {"schedule": schedule_stream, "queue": queue_stream}


def main() -> int:
    for folder in (FOLDER, STREAMS):
        folder.mkdir(exist_ok=True)
    for name, made in OF_STREAMS.items():
        path = STREAMS / f"{name}.jsonl"
        if not path.exists():
            path.write_bytes(b"".join(msgspec.json.encode(recorded) + b"\n" for recorded in made()))
            print(f"{name}: {len(path.read_text().splitlines())} events")
    for name in sys.argv[1:] or SCENARIOS:
        path = FOLDER / f"{name}.jsonl"
        if path.exists():
            print(f"{name}: there already")
            continue
        path.write_bytes(asyncio.run(recorded(name)))
        print(f"{name}: {len(path.read_text().splitlines())} events")
    return 0


if __name__ == "__main__":
    sys.exit(main())
