"""How a workflow made of handles ends: with everything done, or by stopping and undoing what was done."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flowbook.runtime import current
from flowbook.runtime.handles import SKIPPED, failed, resolved

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution


def results(**named: Any) -> Coroutine[Any, Any, dict[str, Any]]:
    """Wait for everything this workflow has started and give the named values.

    Fails with the first step that fails, after stopping the others and undoing what has an ``undo``, last first.
    """
    execution = current.required("results()")
    execution.named = dict(sys._getframe(1).f_locals)
    return _results(execution, named)


async def _results(execution: Execution, named: dict[str, Any]) -> dict[str, Any]:
    try:
        await _first_failure(execution)
        found = {name: await resolved(value) for name, value in named.items()}
    except GeneratorExit:  # the run leaves memory; it has not failed
        raise
    except BaseException:
        await _unwind(execution)
        raise
    return {name: None if value is SKIPPED else value for name, value in found.items()}


async def _first_failure(execution: Execution) -> None:
    while pending := [task for task in execution.handles if not task.done()]:
        await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
        if any(failed(task) for task in execution.handles):
            break
    for task in execution.handles:
        if failed(task):
            task.result()


async def _unwind(execution: Execution) -> None:
    """Stop what still runs and take back what was done; a second cancellation waits until that is finished."""
    for task in execution.handles:
        task.cancel()
    unwinding = execution.loop.create_task(_undo_all(execution))
    while not unwinding.done():
        try:
            await asyncio.shield(unwinding)
        except asyncio.CancelledError:
            continue
    unwinding.result()


async def _undo_all(execution: Execution) -> None:
    if execution.handles:
        await asyncio.wait(execution.handles)
    while execution.undos:
        # The history holds a failed undo; the run still ends with what made it fail.
        with suppress(Exception):
            await execution.undos.pop()()
