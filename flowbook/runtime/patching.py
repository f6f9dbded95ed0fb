"""What asyncio and anyio have to do otherwise on a run's loop. On every other loop they do what they always did.

Functions that keep coroutines in a set, that may swallow a cancellation, that start a thread; sets whose order is that
of addresses in memory; and a table of tasks that takes them for equal where their runs number them alike.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Hashable, Iterator, MutableMapping, MutableSet
from contextlib import nullcontext
from typing import Any
from weakref import ref

import anyio
import anyio.to_thread
from anyio._backends import _asyncio as backend

from flowbook.runtime.loop import DeterministicLoop

_as_completed = asyncio.as_completed
_wait_for = asyncio.wait_for
_run_sync = anyio.to_thread.run_sync
_begin_scope = backend.CancelScope.__init__


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
        async with limiter or nullcontext():
            with anyio.CancelScope(shield=not abandon):
                return await loop.host.thread_call(func, args)
    if cancellable is not None:
        abandon_on_cancel = cancellable
    return await _run_sync(func, *args, abandon_on_cancel=abandon_on_cancel, limiter=limiter)


class Ordered(MutableSet[Any]):
    """A set in the order of insertion."""

    def __init__(self) -> None:
        self._items: dict[Hashable, None] = {}

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, value: Any) -> None:
        self._items[value] = None

    def discard(self, value: Any) -> None:
        self._items.pop(value, None)


def begin_scope(scope: Any, *args: Any, **options: Any) -> None:
    """``anyio.CancelScope.__init__``: on this loop the scopes inside it are cancelled in the order they began."""
    _begin_scope(scope, *args, **options)
    if type(asyncio._get_running_loop()) is DeterministicLoop:
        scope._child_scopes = Ordered()


class ByIdentity(MutableMapping[Any, Any]):
    """Weak keys that are told apart by what they are, whatever their hash."""

    def __init__(self, known: MutableMapping[Any, Any]) -> None:
        self._found: dict[int, tuple[ref[Any], Any]] = {}
        self.update(known)

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._found[id(key)][1]
        except KeyError:
            raise KeyError(key) from None

    def __setitem__(self, key: Any, value: Any) -> None:
        mark = id(key)
        self._found[mark] = (ref(key, lambda _: self._found.pop(mark, None)), value)

    def __delitem__(self, key: Any) -> None:
        del self._found[id(key)]

    def __iter__(self) -> Iterator[Any]:
        return iter([key for known, _ in list(self._found.values()) if (key := known()) is not None])

    def __len__(self) -> int:
        return len(self._found)


def gathered_hash(future: Any) -> int:
    """Of what ``gather`` gives: on this loop it has a number, as other futures have."""
    if type(future._loop) is not DeterministicLoop:
        return object.__hash__(future)
    number: int = getattr(future, "number", 0)
    if not number:
        number = future.number = future._loop.next_number()
    return number


def install() -> None:
    """Put them in place, once; for the life of the process."""
    asyncio.as_completed = asyncio.tasks.as_completed = as_completed
    asyncio.tasks._GatheringFuture.__hash__ = gathered_hash  # type: ignore[attr-defined]
    anyio.to_thread.run_sync = run_sync  # type: ignore[assignment]
    backend.CancelScope.__init__ = begin_scope  # type: ignore[method-assign,assignment]
    backend._task_states = ByIdentity(backend._task_states)  # type: ignore[assignment]
    if sys.version_info < (3, 12):
        asyncio.wait_for = asyncio.tasks.wait_for = wait_for
