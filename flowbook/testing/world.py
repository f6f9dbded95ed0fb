"""A world: engine, workers and clients of one project as processes on one virtual clock, in one thread.

The engine, the workers and their protocols are the real ones; processes, sockets, clocks and the disk are not.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine
from math import inf
from pathlib import Path
from random import Random
from typing import Any

from flowbook.client import AsyncClient
from flowbook.client.launch import Address
from flowbook.core.events import Place, Recorded, StepHeartbeat, StepProgress
from flowbook.core.module import Module
from flowbook.engine.clock import SystemClock
from flowbook.engine.host import Host, Settings
from flowbook.engine.processes import Child
from flowbook.errors import EngineUnavailable
from flowbook.store.base import Store
from flowbook.store.home import Home
from flowbook.store.mark import Mark
from flowbook.store.memory import MemoryStore
from flowbook.testing.loop import VirtualLoop
from flowbook.testing.machine import FIRST_PID, Machine
from flowbook.testing.network import End, Listener, Network, Weather
from flowbook.worker import clocks, guard
from flowbook.worker.session import Session

TOKEN = "virtual"
GRACE = 3.0

_here: contextvars.ContextVar[Process] = contextvars.ContextVar("process")


class Process:
    """A process: a task whose connections end with it. Killed, it does nothing any more."""

    def __init__(self, loop: VirtualLoop, pid: int, name: str) -> None:
        self.loop = loop
        self.pid = pid
        self.name = name
        self.alive = True
        self.stalled = 0.0
        self.ends: dict[End, None] = {}
        self.code: int | None = None
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None]

    def begin(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``main`` as the process."""
        context = contextvars.copy_context()
        context.run(_here.set, self)
        self._task = self.loop.create_task(main(), name=self.name, context=context)
        self._task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and self.alive:
            self.loop.errors.append(error)
        self._end(0 if self.code is None else self.code)

    def _end(self, code: int) -> None:
        if not self.alive:
            return
        self.alive = False
        self.code = code
        for end in list(self.ends):
            end.open = False
            end._send(end.peer.lose)
        self._ended.set()

    def kill(self, code: int = -9) -> None:
        """End it where it stands."""
        self._end(code)
        self._task.cancel()

    def terminate(self) -> None:
        """Part of ``Child``."""
        self.kill(-15)

    async def wait(self) -> int:
        """Its exit code."""
        await self._ended.wait()
        assert self.code is not None
        return self.code


class World:
    """One project. ``tick`` is how often a worker looks after its runs and ``keep`` how long it keeps an idle one.

    ``disk`` gives each engine its store; by default all have the same ``MemoryStore``.
    """

    def __init__(
        self,
        random: Random,
        now: float,
        weather: Weather | None = None,
        *,
        disk: Callable[[Process], Store] | None = None,
        keep: float = 5.0,
        tick: float = 0.25,
        grace: float = GRACE,
    ) -> None:
        clocks.install()
        guard.install()
        self.random = random
        self.loop = VirtualLoop(now)
        self.network = Network(self.loop, weather or Weather(), _here.get)
        self.machine = Machine(self.loop, self.network, random, self._pid, self._is_alive, self._find_engine)
        self.keep, self.tick, self.grace = keep, tick, grace
        self.start_delay: Callable[[], float] = lambda: 0.0
        self.processes: dict[int, Process] = {}
        self.engine: Process | None = None
        self.host: Host | None = None
        self.place = Place(os.getcwd(), sys.executable)
        store = MemoryStore()
        self._disk = disk or (lambda process: store)
        self._folder = tempfile.TemporaryDirectory(prefix="flowbook-", dir=_in_memory())
        self.home = Home(Path(self._folder.name) / ".flowbook")
        self.home.create()
        self.outside = self._process("outside")
        self._context = contextvars.copy_context()
        self._context.run(_here.set, self.outside)
        self.loop.create_unix_server = self._listen  # type: ignore[assignment,method-assign]
        self.loop.create_unix_connection = self._connect  # type: ignore[assignment,method-assign]

    def close(self) -> None:
        """End every process and remove the folder."""
        with self.machine.in_place():
            for process in list(self.processes.values()):
                if process is not self.outside:
                    process.kill()
            for _ in range(100):
                for task in asyncio.all_tasks(self.loop):
                    task.cancel()
                self.loop.drive(lambda: False, until=self.loop.now)
                if not asyncio.all_tasks(self.loop):
                    break
        self.loop.close()
        self._folder.cleanup()

    def run(self, work: Coroutine[Any, Any, Any], until: float = inf) -> asyncio.Task[Any]:
        """Drive the world until ``work`` has ended; its task is not done where everybody waits for ever."""
        with self.machine.in_place():
            task = self.begin(work)
            self.loop.drive(task.done, until)
            return task

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Have ``work`` done, outside all processes, while the world is driven."""
        return self.loop.create_task(work, context=self._context)

    def settle(self, until: float | None = None) -> None:
        """Drive the world up to a time (now by default), or for as long as anything happens by itself."""
        with self.machine.in_place():
            self.loop.drive(lambda: False, self.loop.now if until is None else until)

    # Processes

    def _process(self, name: str) -> Process:
        pid = FIRST_PID + len(self.processes)
        process = self.processes[pid] = Process(self.loop, pid, f"{name} {pid}")
        return process

    def _pid(self) -> int:
        return _here.get().pid

    def _is_alive(self, pid: int) -> bool:
        process = self.processes.get(pid)
        return process is not None and process.alive

    def start_engine(self) -> Process:
        """A new engine on the same state."""
        process = self.engine = self._process("engine")

        async def main() -> None:
            await asyncio.sleep(self.start_delay())
            self.host = host = Host(
                self.home,
                self._disk(process),
                SystemClock(),
                self._spawn,
                TOKEN,
                NoView,
                lambda old, new: [],
                lambda module: module,
                Settings(reconnect_grace=self.grace, idle_exit=1e12),
            )
            await host.run()

        process.begin(main)
        return process

    async def _spawn(self, place: Place, queue: str = "default") -> Child:
        process = self._process("worker")

        async def main() -> None:
            await asyncio.sleep(self.start_delay())
            mark = _Memory(self.home.running(process.pid), process)
            session = Session(self.home.folder, (queue,), keep=self.keep, tick=self.tick, mark=mark)
            # A watchdog is a thread in real time, and may end the process: it has no place in a test.
            session._watchdog._budget = 0.0
            await session.run()

        process.begin(main)
        return process

    @property
    def workers(self) -> list[Process]:
        """Worker processes that live, oldest first."""
        return [p for p in self.processes.values() if p.alive and p.name.startswith("worker")]

    async def _find_engine(self) -> Address:
        for _ in range(200):
            if self.engine is None or not self.engine.alive:
                self.start_engine()
            assert self.engine is not None
            if str(self.home.socket) in self.network.listeners:
                return Address(str(self.home.socket), TOKEN, self.engine.pid)
            await asyncio.sleep(0.1 if self.start_delay() else 0)
        raise EngineUnavailable("the engine did not start")

    # Sockets

    async def _listen(self, factory: Callable[[], asyncio.Protocol], path: Any, **options: Any) -> Listener:
        return self.network.listen(factory, str(path))

    async def _connect(self, factory: Callable[[], asyncio.Protocol], path: Any) -> tuple[End, asyncio.Protocol]:
        return self.network.connect(factory, str(path))

    def client(self) -> AsyncClient:
        """A client that starts the engine when it is not there."""
        return AsyncClient(self.home.folder)


def _in_memory() -> str | None:
    """A folder whose files cost no disk, where there is one; else the usual place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class _Memory(Mark):
    """A worker's mark: the code of one that was killed still unwinds here, but writes no more."""

    def __init__(self, path: Path, process: Process) -> None:
        super().__init__(path)
        self._process = process

    def set(self, what: str) -> None:
        if self._process.alive:
            super().set(what)

    def end(self, slot: int) -> None:
        if self._process.alive:
            super().end(slot)

    def remove(self) -> None:
        if self._process.alive:
            super().remove()


class NoView:
    """Nobody looks."""

    def __init__(self, module: Module | None) -> None:
        self.seq = 0

    def apply(self, recorded: Recorded) -> None:
        """See ``views.Fold``."""
        self.seq = recorded.seq

    def glimpse(self, said: StepProgress | StepHeartbeat, time: float) -> None:
        """See ``views.Fold``."""

    def shown(self) -> dict[str, Any]:
        """See ``views.Fold``."""
        return {"seq": self.seq}
