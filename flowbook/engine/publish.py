"""Who watches what: views of runs as patches, the list of runs as a whole.

A slow watcher gets a fresh view when it can take one, not a queue.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio

from flowbook.core.events import CLOSING, Recorded, StepHeartbeat, StepProgress
from flowbook.core.ids import RunId
from flowbook.engine.links import ClientLink
from flowbook.engine.runs import LiveRun
from flowbook.engine.views import LiveView, ViewMaker
from flowbook.store.base import Entry
from flowbook.wire.calls import Summary

_log = logging.getLogger(__name__)

PATCH_EVERY = 0.05
RUNS_EVERY = 0.2
SLOW = 4 * 1024 * 1024
"""Unsent bytes above which a watcher is not sent more."""


class _Watcher:
    """``settled`` is one who watches on until the run owes nothing outside."""

    __slots__ = ("client", "fresh", "request", "settled")

    def __init__(self, client: ClientLink, request: int, settled: bool = False) -> None:
        self.client = client
        self.request = request
        self.settled = settled
        self.fresh = True


class _Watched:
    """One watched run: the view that is kept live, and what of it was sent last."""

    __slots__ = ("closed", "dirty", "sent", "view", "watchers")

    def __init__(self, view: LiveView, closed: bool) -> None:
        self.view = view
        self.sent: dict[str, Any] = {}
        self.watchers: list[_Watcher] = []
        self.dirty = True
        self.closed = closed


class Publisher:
    """See ``Publication``."""

    def __init__(self, views: ViewMaker, summaries: Callable[[], Awaitable[list[Summary]]]) -> None:
        self._views = views
        self._summaries = summaries
        self._watched: dict[RunId, _Watched] = {}
        self._lists: list[_Watcher] = []
        self._changed = anyio.Event()
        self._listed = anyio.Event()

    def note(self, entries: Sequence[Entry]) -> None:
        """See ``Publication``."""
        if self._watched:
            for entry in entries:
                watched = self._watched.get(entry.run)
                if watched is not None:
                    self._apply(entry.run, watched, entry.recorded)
                    watched.dirty = True
                    watched.closed = watched.closed or isinstance(entry.recorded.event, CLOSING)
                    self._changed.set()
        if self._lists:
            self._listed.set()

    def glimpse(self, run: RunId, items: Sequence[StepProgress | StepHeartbeat], time: float) -> None:
        """These are not durable, and will not be."""
        watched = self._watched.get(run)
        if watched is not None and items:
            for item in items:
                watched.view.glimpse(item, time)
            watched.dirty = True
            self._changed.set()

    def _apply(self, run: RunId, watched: _Watched, recorded: Recorded) -> None:
        """A view that cannot be made must not stop the engine: its watchers keep the last one."""
        try:
            watched.view.apply(recorded)
        except Exception:
            _log.exception("the view of run %s cannot show event %s", run, recorded.seq)

    async def watch(self, run: LiveRun, client: ClientLink, request: int, settled: bool = False) -> None:
        """Send the run's view now and its changes from now on, until it ends, or has ended and is ``settled``."""
        watched = self._watched.get(run.id)
        if watched is None:
            view = await self._views.live(run)
            # Events may have been committed while the module was read.
            watched = self._watched.setdefault(run.id, _Watched(view, bool(run.state.closed)))
            watched.view.catch_up(run.records[: run.committed])
            watched.closed = bool(run.state.closed)
        watched.watchers.append(_Watcher(client, request, settled))
        watched.dirty = True
        self._changed.set()

    def watch_list(self, client: ClientLink, request: int) -> None:
        """Send the list of runs now and whenever it changes."""
        self._lists.append(_Watcher(client, request))
        self._listed.set()

    def unwatch(self, client: ClientLink, request: int | None = None) -> None:
        """End one subscription of a client, or all."""
        for run, watched in list(self._watched.items()):
            watched.watchers = [w for w in watched.watchers if not _is_of(w, client, request)]
            if not watched.watchers:
                del self._watched[run]
        self._lists = [w for w in self._lists if not _is_of(w, client, request)]

    async def run(self) -> None:
        """Publish changes, for ever."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._publish_runs)
            while True:
                await self._changed.wait()
                self._changed = anyio.Event()
                for run, watched in list(self._watched.items()):
                    if watched.dirty:
                        self._publish(run, watched)
                await anyio.sleep(PATCH_EVERY)

    def _publish(self, id: RunId, watched: _Watched) -> None:
        watched.dirty = False
        view = watched.view.shown()
        patch = watched.view.difference(watched.sent, view) if watched.sent else []
        watched.sent = view
        owes = any(owed["ended"] is None for owed in view.get("obligations", ()))
        for watcher in list(watched.watchers):
            is_last = watched.closed and not (watcher.settled and owes)
            if watcher.client.link.waiting > SLOW:
                watcher.fresh = watched.dirty = True
                continue
            if watcher.fresh:
                watcher.client.update(watcher.request, {"view": view}, is_last)
                watcher.fresh = False
            elif patch or is_last:
                watcher.client.update(watcher.request, {"patch": patch, "seq": view["seq"]}, is_last)
            if is_last:
                watched.watchers.remove(watcher)
        if not watched.watchers:
            del self._watched[id]

    async def _publish_runs(self) -> None:
        while True:
            await self._listed.wait()
            self._listed = anyio.Event()
            if self._lists:
                body = {"runs": await self._summaries()}
                for watcher in self._lists:
                    if watcher.client.link.waiting <= SLOW:
                        watcher.client.update(watcher.request, body)
            await anyio.sleep(RUNS_EVERY)


def _is_of(watcher: _Watcher, client: ClientLink, request: int | None) -> bool:
    return watcher.client is client and (request is None or watcher.request == request)
