"""How a workflow made of handles ends: with everything done, or by stopping and undoing what was done."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flowbook.runtime import current
from flowbook.runtime.handles import SKIPPED, failed, resolved
from flowbook.runtime.shielding import unbroken

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
    await execution.duties.keep_all()
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
    """Stop what still runs and take back what was done; a second cancellation waits until that is finished.

    The history holds an undo that failed; the run still ends with what made it fail.
    """
    for task in execution.handles:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await unbroken(execution.duties.run(_undo_all(execution)))


async def _undo_all(execution: Execution) -> None:
    if execution.handles:
        await asyncio.wait(execution.handles)
    await execution.duties.take_back_all()
