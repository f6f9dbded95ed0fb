"""Workers: which are there, which run goes where, and starting one where none is. Their fate is told to the engine."""

from __future__ import annotations

import logging
import os
import signal
from typing import Protocol

import anyio
import anyio.abc
import msgspec
from msgspec.structs import replace

from flowbook.core.events import Place
from flowbook.core.ids import Digest, RunId, WorkerId
from flowbook.core.messages import PauseRun, WorkerLost
from flowbook.core.queues import DEFAULT
from flowbook.engine import remains
from flowbook.engine.engine import Engine
from flowbook.engine.links import WorkerLink
from flowbook.engine.processes import Child, Spawn, how_it_ended, is_alive, log_size, log_tail
from flowbook.engine.runs import LiveRun
from flowbook.engine.told import Told
from flowbook.errors import EngineUnavailable
from flowbook.store.home import Home, write_private
from flowbook.store.mark import Left
from flowbook.wire.protocol import Drain, WorkerHello

log = logging.getLogger("flowbook.engine.fleet")

FAILED_STARTS = 3
"""Failed starts in a row after which the runs that wait for the worker are paused."""

START_TIMEOUT = 60.0
LEAVE_TIMEOUT = 3.0
_BACK_OFF = 0.3

LOOK_EVERY = 1.0
"""Seconds between looks at who has been silent for too long."""

LOOK_FOR_THE_DEAD = 0.1
"""Seconds between looks at whether the process of a worker that is waited for has ended."""

LAST_WORDS = 0.3
"""Seconds for what a worker has said before its process ended to be read."""

_ADVICE = 'Move the work into a step; one with isolate="process" can be ended at any line'

Service = tuple[Place, str]
"""What a worker is needed for: a place, and a queue."""


class TaskHolder(Protocol):
    """Knows the tasks of queues that workers have in hand."""

    def joined(self, link: WorkerLink, hello: WorkerHello) -> None:
        """A worker is there."""

    def left(self, link: WorkerLink) -> None:
        """A worker's connection has ended; its fate is not known yet."""

    def lost(self, loss: WorkerLost, left: Left) -> None:
        """A worker is gone for good; ``left`` is what it ran."""

    def unserved(self, place: Place, queue: str, reason: str) -> None:
        """No worker can be started for what waits there."""


class Fleet:
    """The workers of one engine.

    ``grace`` is how long a worker may take to come back, ``silence`` how long it may say nothing before it is replaced,
    in seconds.
    """

    def __init__(self, engine: Engine, home: Home, spawn: Spawn, grace: float, silence: float = 30.0) -> None:
        self._engine = engine
        self._home = home
        self._spawn = spawn
        self._grace = grace
        self._silence = silence
        self.links: dict[WorkerId, WorkerLink] = {}
        self.queues: TaskHolder
        self._wanted: dict[Service, dict[RunId, LiveRun]] = {}
        self._starting: set[Service] = set()
        self._children: dict[int, Child] = {}
        self._ended: dict[int, str] = {}
        self._changed = anyio.Event()
        self._refused: dict[Service, str] = {}
        self.leaving = False

    # Placement

    def want(self, run: LiveRun) -> None:
        """See ``Placement``."""
        place = run.state.place
        link = self.link_for(place, run.state.queue) or self.link_for(place)
        if link is not None:
            self._engine.activate(run, link)
            return
        run.wanted = True
        self._wanted.setdefault((place, DEFAULT), {})[run.id] = run
        self._ensure_start((place, DEFAULT))

    def link_for(self, place: Place, queue: str = DEFAULT) -> WorkerLink | None:
        """The worker of a place that serves the queue and has the fewest runs."""
        fitting = [
            link for link in self.links.values() if link.place == place and queue in link.queues and not link.draining
        ]
        return min(fitting, key=lambda link: len(link.runs), default=None)

    def serve(self, place: Place, queue: str) -> None:
        """See that some worker of the place serves the queue."""
        if self.link_for(place, queue) is None:
            self._ensure_start((place, queue))

    async def worker_of(self, place: Place) -> WorkerLink:
        """A worker of a place, started if need be. Raises ``EngineUnavailable`` where none starts."""
        service = (place, DEFAULT)
        self._refused.pop(service, None)
        while (link := self.link_for(place)) is None:
            if self.leaving:
                raise EngineUnavailable("the engine is being stopped.")
            if service in self._refused:
                raise EngineUnavailable(self._refused[service])
            self._ensure_start(service)
            await self._changed.wait()
        return link

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    # Coming and going

    def joined(self, link: WorkerLink, hello: WorkerHello) -> None:
        """A worker introduced itself."""
        self.links[link.worker] = link
        link.silent = 0.0
        link.is_seen = is_alive(link.pid)
        self._remember()
        self._engine.joined(link, hello)
        for place, queue in list(self._wanted):
            if place == link.place and self.link_for(place, queue) is not None:
                for run in self._wanted.pop((place, queue)).values():
                    run.wanted = False
                    self._engine.consider(run)
        self.queues.joined(link, hello)
        if self.leaving:
            self.drain(link)
            link.link.say(Drain())
        self._notify()

    async def left(self, link: WorkerLink) -> None:
        """A worker's connection has ended: find out why, give it time to come back if it lives, else it is lost."""
        if self.links.get(link.worker) is link:
            del self.links[link.worker]
        runs = self._engine.reserve(link)
        self.queues.left(link)
        if self.leaving:
            # The next engine is to see that its process is gone, so it stays noted.
            self._notify()
            return
        reason = await self._fate(link)
        self._ended.pop(link.pid, None)
        self._remember()
        if reason:
            self._is_lost(link, runs, link.verdict or reason)
        else:
            self._engine.lost(runs, WorkerLost(link.worker, "it came back without the run", own=True, planned=True))
        self._notify()

    def _is_lost(self, link: WorkerLink, runs: list[LiveRun], reason: str) -> None:
        """It does not come back: what it ran is due again, and what is to blame is told."""
        found = remains.collect(self._home, link.pid)
        reason, code = reason + found.place, found.left.code
        log.warning("worker %s (pid %d) was lost: %s%s", link.worker, link.pid, reason, code and f"; it ran {code}")
        if not is_alive(link.pid):
            remains.end_processes(found.left)
        # One that was to leave anyway has been stopped by somebody, and by no step.
        loss = WorkerLost(link.worker, reason, planned=link.draining)
        self._engine.lost(runs, replace(loss, own=True), found.left)
        self.queues.lost(loss, found.left)
        if found.blamed:
            self._engine.tell(Told(found.blamed, [PauseRun(found.blame)]))
        for run in runs if link.verdict and code else ():
            if code in (run.id, run.state.module):
                text = f"the workflow's code kept its worker from doing anything else{found.place}: {link.verdict}"
                self._engine.tell(Told(run.id, [PauseRun(f"{text}. {_ADVICE}")]))

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
                with anyio.move_on_after(LOOK_FOR_THE_DEAD):
                    await self._changed.wait()
        return f"its connection broke and it did not come back within {self._grace:g} s"

    def _remember(self) -> None:
        """Note who is there, so that the next engine knows for whom to wait. Only a hint."""
        known = msgspec.json.encode({link.worker: link.pid for link in self.links.values()})
        try:
            write_private(self._home.workers, known)
        except OSError:
            return

    def may_return(self, named: set[WorkerId]) -> dict[WorkerId, int]:
        """Those of the last engine's workers that may come back.

        They are those it noted, with their process ids, and those ``named`` by what runs, whose ids are not known (0).
        """
        try:
            noted = msgspec.json.decode(self._home.workers.read_bytes(), type=dict[WorkerId, int])
        except (OSError, msgspec.DecodeError):
            noted = {}
        return {**dict.fromkeys(named, 0), **noted}

    async def await_return(self, expected: dict[WorkerId, int]) -> None:
        """Wait until these workers are back or known to be gone, for as long as the grace lasts."""
        with anyio.move_on_after(self._grace):
            while any(self._may_come(worker, pid) for worker, pid in expected.items()):
                with anyio.move_on_after(LOOK_FOR_THE_DEAD):
                    await self._changed.wait()

    def _may_come(self, worker: WorkerId, pid: int) -> bool:
        return worker not in self.links and (not pid or is_alive(pid))

    # Starting

    def _ensure_start(self, service: Service) -> None:
        if service not in self._starting and not self.leaving:
            self._starting.add(service)
            self._engine.tasks.start_soon(self._start, service)

    async def _start(self, service: Service) -> None:
        reason = ""
        try:
            for attempt in range(FAILED_STARTS):
                if attempt:
                    await anyio.sleep(_BACK_OFF * attempt)
                if self.link_for(*service) is not None:
                    return
                reason = await self._start_once(service)
                if not reason:
                    return
                log.warning("a worker for %s could not start: %s", service[0].folder, reason)
        finally:
            self._starting.discard(service)
        self._give_up(service, reason)

    async def _start_once(self, service: Service) -> str:
        """Start a process and wait until it says hello; "" then, else why it did not."""
        began = log_size(self._home)
        place, queue = service
        try:
            child = await self._spawn(place, queue)
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
        await self._hang_up_on(child.pid)

    async def _hang_up_on(self, pid: int) -> None:
        """Cut the connection of a process that has ended: one that it has forked may hold it open."""
        await anyio.sleep(LAST_WORDS)
        for link in self.links.values():
            if link.pid == pid:
                link.link.cut()

    def _give_up(self, service: Service, reason: str) -> None:
        place, queue = service
        whom = "no worker" if queue == DEFAULT else f"no worker of queue '{queue}'"
        text = f"{whom} could be started in {place.folder} with {place.python}: {reason}"
        others = sorted({link.place.folder for link in self.links.values() if queue in link.queues})
        if others:
            text += (
                f" (There are workers in {', '.join(others)}, but a worker does what was started in its own folder.)"
            )
        self._refused[service] = text
        for run in self._wanted.pop(service, {}).values():
            run.wanted = False
            self._engine.tell(Told(run.id, [PauseRun(text)]))
        self.queues.unserved(place, queue, text)
        self._notify()

    def without_module(self, link: WorkerLink, digest: Digest, reason: str) -> None:
        """A module that its runs pin is not in the store: they cannot go on until somebody decides."""
        for held in list(link.runs):
            run = self._engine.runs.open.get(held)
            if run is not None and run.state.module == digest:
                self._engine.tell(Told(held, [PauseRun(reason)]))

    # Silence and leaving

    async def keep_watch(self) -> None:
        """End workers that live and say nothing: a blocked one is replaced, and what it had goes to another."""
        while True:
            await anyio.sleep(LOOK_EVERY)
            self.look()

    def look(self) -> None:
        """Count one more look at which nothing had been said: end those silent for too long, and forget the dead.

        Looks are counted and not seconds: while the engine itself stood still, it could hear nobody.
        """
        for link in list(self.links.values()):
            # One whose process was never seen may live where its id means nothing, in another container.
            if link.is_seen and not is_alive(link.pid):
                link.is_seen = False
                self._engine.tasks.start_soon(self._hang_up_on, link.pid)
            link.silent += LOOK_EVERY
            if link.silent > self._silence:
                log.warning("worker %s (pid %d) was silent for %g s", link.worker, link.pid, self._silence)
                link.verdict = f"it said nothing for {self._silence:g} s and was ended"
                self._end(link)

    def _end(self, link: WorkerLink) -> None:
        try:
            os.kill(link.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            log.warning("worker %s (pid %d) could not be killed", link.worker, link.pid)
        link.link.cut()

    def drain(self, link: WorkerLink) -> None:
        """The worker takes nothing new from here on."""
        link.draining = True
        self._notify()

    async def drain_all(self, grace: float) -> None:
        """Start no more workers, and have those there are hand over what they hold: returns when they have left.

        ``grace`` is how many seconds they give running steps to end.
        """
        self.leaving = True
        self._notify()
        for link in list(self.links.values()):
            self.drain(link)
            link.link.say(Drain(grace))
        while self.links:
            await self._changed.wait()

    async def leave(self, reason: str) -> None:
        """Say goodbye to every worker and see that those started here end."""
        self.leaving = True
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
