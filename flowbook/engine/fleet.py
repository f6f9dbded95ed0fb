"""Workers: which are there, which run goes where, and starting one where none is. Their fate is told to the engine."""

from __future__ import annotations

import logging

import anyio
import anyio.abc
import msgspec

from flowbook.core.events import Place
from flowbook.core.ids import Digest, RunId, WorkerId
from flowbook.core.messages import PauseRun
from flowbook.engine.engine import Engine, Told
from flowbook.engine.links import WorkerLink
from flowbook.engine.processes import Child, Spawn, how_it_ended, is_alive, log_size, log_tail
from flowbook.engine.runs import LiveRun
from flowbook.errors import EngineUnavailable
from flowbook.store.home import Home
from flowbook.wire.protocol import WorkerHello

log = logging.getLogger("flowbook.engine.fleet")

FAILED_STARTS = 3
"""Failed starts in a row after which the runs that wait for the worker are paused."""

START_TIMEOUT = 60.0
LEAVE_TIMEOUT = 3.0
_BACK_OFF = 0.3


class Fleet:
    """The workers of one engine. ``grace`` is how long a worker may take to come back, in seconds."""

    def __init__(self, engine: Engine, home: Home, spawn: Spawn, grace: float) -> None:
        self._engine = engine
        self._home = home
        self._spawn = spawn
        self._grace = grace
        self.links: dict[WorkerId, WorkerLink] = {}
        self._wanted: dict[Place, dict[RunId, LiveRun]] = {}
        self._starting: set[Place] = set()
        self._children: dict[int, Child] = {}
        self._ended: dict[int, str] = {}
        self._changed = anyio.Event()
        self._refused: dict[Place, str] = {}
        self._leaving = False

    # Placement

    def want(self, run: LiveRun) -> None:
        """See ``Placement``."""
        link = self.link_for(run.state.place)
        if link is not None:
            self._engine.activate(run, link)
            return
        run.wanted = True
        self._wanted.setdefault(run.state.place, {})[run.id] = run
        self._ensure_start(run.state.place)

    def link_for(self, place: Place) -> WorkerLink | None:
        """The worker of a place with the fewest runs."""
        fitting = [link for link in self.links.values() if link.place == place]
        return min(fitting, key=lambda link: len(link.runs), default=None)

    async def worker_of(self, place: Place) -> WorkerLink:
        """A worker of a place, started if need be. Raises ``EngineUnavailable`` where none starts."""
        self._refused.pop(place, None)
        while (link := self.link_for(place)) is None:
            if place in self._refused:
                raise EngineUnavailable(self._refused[place])
            self._ensure_start(place)
            await self._changed.wait()
        return link

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    # Coming and going

    def joined(self, link: WorkerLink, hello: WorkerHello) -> None:
        """A worker introduced itself."""
        self.links[link.worker] = link
        self._remember()
        self._engine.joined(link, hello)
        for run in self._wanted.pop(link.place, {}).values():
            run.wanted = False
            self._engine.consider(run)
        self._notify()

    async def left(self, link: WorkerLink) -> None:
        """A worker's connection has ended: find out why, give it time to come back if it lives, else it is lost."""
        if self.links.get(link.worker) is link:
            del self.links[link.worker]
        runs = self._engine.reserve(link)
        if self._leaving:
            return
        reason = await self._fate(link)
        self._ended.pop(link.pid, None)
        self._remember()
        if reason:
            log.warning("worker %s (pid %d) was lost: %s", link.worker, link.pid, reason)
        self._engine.lost(runs, link, reason or "it came back without the run")

    async def _fate(self, link: WorkerLink) -> str:
        """Why the worker is gone; "" when it is back."""
        with anyio.move_on_after(self._grace):
            while True:
                if link.worker in self.links:
                    return ""
                if link.pid in self._ended:
                    return self._ended[link.pid]
                if link.pid not in self._children and not is_alive(link.pid):
                    return "its process is gone"
                with anyio.move_on_after(0.1):
                    await self._changed.wait()
        return f"its connection broke and it did not come back within {self._grace:g} s"

    def _remember(self) -> None:
        """Note who is there, so that the next engine knows for whom to wait. Only a hint."""
        known = msgspec.json.encode({link.worker: link.pid for link in self.links.values()})
        try:
            (self._home.folder / "workers.json").write_bytes(known)
        except OSError:
            return

    def remembered(self) -> set[WorkerId]:
        """The last engine's workers whose processes live."""
        try:
            known = msgspec.json.decode((self._home.folder / "workers.json").read_bytes(), type=dict[WorkerId, int])
        except (OSError, msgspec.DecodeError):
            return set()
        return {worker for worker, pid in known.items() if is_alive(pid)}

    async def await_return(self, expected: set[WorkerId]) -> None:
        """Wait until these workers are back, for as long as the grace lasts."""
        with anyio.move_on_after(self._grace):
            while not expected <= self.links.keys():
                await self._changed.wait()

    # Starting

    def _ensure_start(self, place: Place) -> None:
        if place not in self._starting and not self._leaving:
            self._starting.add(place)
            self._engine.tasks.start_soon(self._start, place)

    async def _start(self, place: Place) -> None:
        reason = ""
        try:
            for attempt in range(FAILED_STARTS):
                if attempt:
                    await anyio.sleep(_BACK_OFF * attempt)
                if self.link_for(place) is not None:
                    return
                reason = await self._start_once(place)
                if not reason:
                    return
                log.warning("a worker for %s could not start: %s", place.folder, reason)
        finally:
            self._starting.discard(place)
        self._give_up(place, reason)

    async def _start_once(self, place: Place) -> str:
        """Start a process and wait until it says hello; "" then, else why it did not."""
        began = log_size(self._home)
        try:
            child = await self._spawn(place)
        except OSError as error:
            return f"{place.python} could not be started in {place.folder} ({error.strerror or error})"
        self._children[child.pid] = child
        self._engine.tasks.start_soon(self._watch, child)
        with anyio.move_on_after(START_TIMEOUT):
            while not any(link.pid == child.pid for link in self.links.values()):
                if child.pid in self._ended:
                    ended = self._ended.pop(child.pid)
                    return f"it {ended} before it connected. {log_tail(self._home, began)}".strip()
                await self._changed.wait()
            return ""
        child.kill()
        return f"it did not connect within {START_TIMEOUT:g} s. {log_tail(self._home, began)}".strip()

    async def _watch(self, child: Child) -> None:
        code = await child.wait()
        self._children.pop(child.pid, None)
        self._ended[child.pid] = how_it_ended(code)
        self._notify()

    def _give_up(self, place: Place, reason: str) -> None:
        text = f"no worker could be started in {place.folder} with {place.python}: {reason}"
        self._refused[place] = text
        for run in self._wanted.pop(place, {}).values():
            run.wanted = False
            self._engine.tell(Told(run.id, [PauseRun(text)]))
        self._notify()

    def without_module(self, link: WorkerLink, digest: Digest, reason: str) -> None:
        """A module that its runs pin is not in the store: they cannot go on until somebody decides."""
        for held in list(link.runs):
            run = self._engine.runs.open.get(held)
            if run is not None and run.state.module == digest:
                self._engine.tell(Told(held, [PauseRun(reason)]))

    # Leaving

    async def leave(self, reason: str) -> None:
        """Say goodbye to every worker and see that those started here end."""
        self._leaving = True
        for link in self.links.values():
            link.link.farewell(reason)
        with anyio.move_on_after(LEAVE_TIMEOUT):
            while self._children:
                await self._changed.wait()
        for child in list(self._children.values()):
            child.terminate()
        with anyio.move_on_after(0.5):
            while self._children:
                await self._changed.wait()
        for child in list(self._children.values()):
            child.kill()
