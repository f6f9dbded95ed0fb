"""What asyncio and anyio have to do otherwise on a run's loop. On every other loop they do what they always did.

Three functions: one that keeps coroutines in a set, one that may swallow a cancellation, one that starts a thread.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread

from flowbook.runtime.loop import DeterministicLoop

_as_completed = asyncio.as_completed
_wait_for = asyncio.wait_for
_run_sync = anyio.to_thread.run_sync


def as_completed(fs: Any, *, timeout: float | None = None) -> Any:
    """``asyncio.as_completed``: on this loop coroutines become tasks in their order first."""
    if type(asyncio._get_running_loop()) is DeterministicLoop:
        fs = [asyncio.ensure_future(awaitable) for awaitable in dict.fromkeys(fs)]
    return _as_completed(fs, timeout=timeout)


async def wait_for(fut: Any, timeout: float | None) -> Any:
    """``asyncio.wait_for`` as of Python 3.12: a cancellation is not lost when the result comes at the same moment."""
    if type(asyncio._get_running_loop()) is not DeterministicLoop:
        return await _wait_for(fut, timeout)
    if timeout is not None and timeout <= 0:
        fut = asyncio.ensure_future(fut)
        if fut.done():
            return fut.result()
        fut.cancel()
        try:
            await fut
        except asyncio.CancelledError as error:
            raise TimeoutError from error
    async with asyncio.timeout(timeout):
        return await fut


async def run_sync(
    func: Callable[..., Any],
    *args: Any,
    abandon_on_cancel: bool = False,
    cancellable: bool | None = None,
    limiter: Any = None,
) -> Any:
    """``anyio.to_thread.run_sync``: on this loop the function runs as a step, as with ``asyncio.to_thread``."""
    loop = asyncio._get_running_loop()
    if type(loop) is DeterministicLoop:
        abandon = abandon_on_cancel if cancellable is None else cancellable
        with anyio.CancelScope(shield=not abandon):
            return await loop.host.thread_call(func, args)
    if cancellable is not None:
        abandon_on_cancel = cancellable
    return await _run_sync(func, *args, abandon_on_cancel=abandon_on_cancel, limiter=limiter)


def install() -> None:
    """Put them in place, once; for the life of the process."""
    asyncio.as_completed = asyncio.tasks.as_completed = as_completed
    anyio.to_thread.run_sync = run_sync  # type: ignore[assignment]
    if sys.version_info < (3, 12):
        asyncio.wait_for = asyncio.tasks.wait_for = wait_for
