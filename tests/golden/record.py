"""``python -m tests.golden.record [NAME ...]``: record histories that are not there yet; those that are stay."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from flowbook.errors import RunFailed
from flowbook.testing import TestEngine, TestRun
from tests.golden import workflows as w

FOLDER = Path(__file__).parent / "histories"

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
        )
    },
    "messages": _messages,
    "outside": _outside,
    "counting": _counting,
    "cancelled": _cancelled,
    "terminated": _terminated,
}


async def recorded(name: str) -> bytes:
    """The history as JSON lines, from a run on a virtual clock."""
    w.tries.update(shaky=0, polls=0)
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


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
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
