"""Work that goes on although whoever waits for it was cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

from flowbook.runtime import current

T = TypeVar("T")


async def unbroken(task: asyncio.Task[T], tell: Callable[[], None] | None = None) -> T:
    """Wait until the task has ended, whatever happens; a cancellation that came meanwhile is raised then.

    ``tell`` is called when it comes. The scope keeps anyio from delivering its cancellation over and over while there
    is nothing to cancel.
    """
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
            if tell is not None:
                tell()
    if cancelled is not None:
        raise cancelled
    return task.result()


async def shielded(work: Coroutine[Any, Any, T]) -> T:
    """Run clean-up to its end, even while the run is being cancelled.

    ::

        finally:
            await shielded(clean_up())

    A cancellation that comes meanwhile is raised afterwards. Termination does not wait for it; what must survive that
    too belongs into ``operation()`` or ``saga()``.
    """
    execution = current.execution()
    loop = execution.loop if execution is not None else asyncio.get_running_loop()
    return await unbroken(loop.create_task(work))
