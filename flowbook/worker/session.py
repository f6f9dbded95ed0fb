"""The worker's connection: what the engine sends goes to the held runs, what they have to say goes back.

Losing the connection without a goodbye means that the engine crashed: steps run on, the engine is brought back,
and what it has not answered is said again.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from contextlib import suppress
from functools import partial
from inspect import unwrap
from pathlib import Path
from types import CodeType

import anyio
import anyio.abc
import anyio.to_thread

from flowbook.client import launch
from flowbook.core.events import Chunk, Place, RunStarted
from flowbook.core.ids import RunId, Seq, WorkerId
from flowbook.errors import EngineUnavailable
from flowbook.runtime import modules
from flowbook.store.home import Home
from flowbook.store.mark import Mark
from flowbook.store.values import ValueFiles
from flowbook.wire.protocol import (
    Activate,
    Alive,
    CancelTask,
    Commit,
    Drain,
    Draining,
    Earlier,
    Evict,
    Goodbye,
    Inspect,
    ModuleSource,
    Released,
    StopTask,
    Task,
    TaskReported,
    ToWorker,
    WorkerHello,
)
from flowbook.worker.arrivals import Arrivals, NeedsCode
from flowbook.worker.attempts import Attempt
from flowbook.worker.crew import Crew
from flowbook.worker.held import HeldRun, run_attempt
from flowbook.worker.holding import KEEP_IDLE, Holding
from flowbook.worker.inspection import Watch, inspect
from flowbook.worker.link import Link
from flowbook.worker.outbox import Outbox
from flowbook.worker.reclaiming import Reclaimer
from flowbook.worker.tasks import RemoteTask, Tasks, run_task
from flowbook.worker.watchdog import Watchdog
from flowbook.worker.workplace import Workplace

TICK = 0.05
"""Seconds between looks at what runs."""

THREADS = 100
"""Plain steps that run at once, each in a thread. As many as a worker takes tasks of queues, so that none of these
waits here while another worker is free."""

DRAIN_GRACE = 30.0
"""Seconds that running steps are given when the worker is to leave."""

STOP_WITHIN = 3.0
"""Seconds for attempts to end when the worker leaves."""

RETURN_WITHIN = 60.0
"""Seconds to try to find an engine before leaving."""


class Session:
    """One worker process."""

    def __init__(
        self,
        home: Path,
        queues: tuple[str, ...],
        *,
        concurrency: int = 100,
        grace: float = DRAIN_GRACE,
        threads: int = THREADS,
        keep: float = KEEP_IDLE,
        tick: float = TICK,
        mark: Mark | None = None,
        place: Place | None = None,
    ) -> None:
        self.home = home
        self.queues = queues
        self.concurrency = concurrency
        self._grace = grace
        self.worker = WorkerId(f"{os.getpid()}-{uuid.uuid4().hex[:8]}")
        self.place = place or Place(os.getcwd(), sys.executable)
        self._files = ValueFiles(home)
        self._mark = mark or Mark(Home(home).running(os.getpid()))
        self._workplace = Workplace(self._files, self._mark, asyncio.Semaphore(threads))
        own = Home(home)
        self._watchdog = Watchdog(own.blocked(os.getpid()), own.trace(os.getpid()), self._warn_step, self._mark.set)
        self._tick = tick
        self._crew = Crew(self._attempt_broke)
        self._remote = Tasks(self._workplace, self._begin_task)
        self._outbox = Outbox(self._remote)
        self._reclaimer = Reclaimer()
        self._held = Holding(self._outbox, self._reclaimer, keep)
        self._arrivals = Arrivals(self, self._outbox.send, self._loading)
        self._drained_by: float | None = None
        self._stirred = False
        self._stopped = False
        self._tasks: anyio.abc.TaskGroup

    def watch(self) -> None:
        """Take charge of this process for its life, which is the worker's own.

        A thread looks whether its loop turns, steps begin in its folder, and what they fork has no part in the
        connection.
        """
        self._watchdog.start()
        os.register_at_fork(after_in_child=self._outbox.let_go)
        self._workplace.folder = self._workplace.start = os.getcwd()

    async def run(self) -> None:
        """Serve until the engine says goodbye, or none can be found."""
        try:
            async with anyio.create_task_group() as self._tasks:
                self._tasks.start_soon(self._tend)
                while not self._stopped:
                    address = await self._find_engine()
                    if address is None:
                        break
                    await self._serve(address)
                    if not self._stopped:
                        await anyio.sleep(0.3)
                self._remote.drop()
                self._held.drop_all()
                await self._crew.rest(STOP_WITHIN)
                self._tasks.cancel_scope.cancel()
        except BaseException as error:
            # Before its attempts end with it: one of them may have brought it down, but for one that is interrupted.
            if not isinstance(error, asyncio.CancelledError):
                self._mark.seal()
            raise
        finally:
            self._held.drop_all()
            self._crew.leave()
            self._watchdog.leave()
            self._mark.remove()

    async def _find_engine(self) -> launch.Address | None:
        deadline = time.monotonic() + RETURN_WITHIN
        while time.monotonic() < deadline and self.home.exists():
            with suppress(EngineUnavailable, OSError):
                return await anyio.to_thread.run_sync(launch.ensure_engine, self.home)
            await anyio.sleep(1.0)
        return None

    async def _serve(self, address: launch.Address) -> None:
        self._outbox.clear()
        self._arrivals.clear()
        holding = self._held.seen
        link = Link(self._receive, self._outbox.frames)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: link, address.socket)
        except OSError:
            return
        self._outbox.link = link
        self._remote.again()
        hello = WorkerHello(
            address.token,
            self.worker,
            os.getpid(),
            self.place,
            self.queues,
            holding,
            self._remote.refs,
            self.concurrency,
        )
        self._outbox.send(hello)
        if self._drained_by is not None:
            self._outbox.send(Draining())
        try:
            await link.closed.wait()
        finally:
            link.close()

    # What the engine says

    def _receive(self, packet: ToWorker) -> None:
        self._stirred = True
        match packet:
            case Commit():
                # By far the most of what comes, and as good as never while something waits.
                if self._arrivals.waiting:
                    self._arrivals.take_commit(packet)
                else:
                    self.commit(packet)
            case Earlier():
                self._arrivals.take_earlier(packet)
            case Activate() | Inspect():
                self._arrivals.take(packet)
            case Evict():
                self._arrivals.forget(packet.run)
                self._held.drop(packet.run)
            case Task():
                if self._remote.take(packet):
                    self._arrivals.take(packet)
            case CancelTask():
                self._remote.cancel(packet.task)
                self._outbox.speak_of_tasks()
            case StopTask():
                self._remote.ask_to_stop(packet.task)
            case TaskReported():
                self._remote.answered(packet.task, packet.number)
            case Drain():
                self.drain(packet.grace)
            case ModuleSource():
                self._arrivals.module_arrived(packet)
                self._reclaimer.loaded()
            case Goodbye():
                self._stopped = True
                self._outbox.hang_up()
                if packet.reason:
                    sys.stderr.write(f"the engine ended the connection: {packet.reason}\n")

    def commit(self, packet: Commit) -> None:
        """See ``Doing``."""
        held = self._held.runs.get(packet.run)
        if held is not None:
            held.commit(packet)
            if held.over:
                self._held.forget(held)
            self._outbox.speak(held)
        elif packet.lease:
            # The run was dropped, under the last engine's lease, while this one's was on its way.
            self._outbox.send(Released(packet.run, packet.lease, Seq(0)))

    def act(self, packet: NeedsCode, module: modules.LoadedModule) -> None:
        """See ``Doing``."""
        if isinstance(packet, Task):
            self._remote.begin(packet, module)
            self._outbox.speak_of_tasks()
            return
        if isinstance(packet, Inspect):
            self._outbox.send(inspect(packet, module, self._files, self._watching(packet)))
            return
        held = self._hold(packet)
        held.activate(packet, module)
        if held.over:
            self._held.forget(held)
        self._outbox.speak(held)

    def _loading(self, digest: str) -> None:
        """This module is loaded from here on; "" for none."""
        self._mark.set(digest)
        if digest:
            self._workplace.loading()
        else:
            self._workplace.loaded()

    def _watching(self, packet: Inspect) -> Watch:
        started = packet.history[0].event
        return partial(self._watchdog.watched, started.run if isinstance(started, RunStarted) else RunId(""))

    def cannot_load(self, packet: NeedsCode, error: BaseException) -> None:
        """See ``Doing``."""
        if isinstance(packet, Task):
            self._remote.cannot(packet, error)
            self._outbox.speak_of_tasks()
            return
        if isinstance(packet, Inspect):
            self._outbox.send(inspect(packet, None, self._files, self._watching(packet), error))
            return
        held = self._hold(packet)
        held.pause(error if isinstance(error, Exception) else RuntimeError(f"it called exit: {error}"))
        self._outbox.speak(held)

    def _hold(self, packet: Activate) -> HeldRun:
        held = HeldRun(packet.run, packet.lease, self.worker, self._workplace, self._begin, self._watchdog)
        self._held.add(held)
        return held

    # Attempts and idle runs

    def _begin(self, held: HeldRun, attempt: Attempt) -> None:
        self._crew.run(run_attempt(held, attempt, self._outbox.speak))

    def _begin_task(self, task: RemoteTask, attempt: Attempt) -> None:
        self._crew.run(run_task(task, attempt, self._outbox.speak_of_tasks))

    def _attempt_broke(self, error: BaseException) -> None:
        self._tasks.start_soon(_raise, error)

    def drain(self, grace: float | None = None) -> None:
        """Take nothing new; leave when what runs has ended, or when its time is up."""
        if self._drained_by is not None or self._stopped:
            return
        self._drained_by = time.monotonic() + (self._grace if grace is None else grace)
        self._held.drain()
        self._outbox.send(Draining())

    def _hand_over(self) -> None:
        """Let go of every run that has no step running; leave when nothing is left."""
        assert self._drained_by is not None
        if self._arrivals.waiting and time.monotonic() < self._drained_by:
            return
        self._held.hand_over()
        is_done = not (self._held.runs or len(self._remote) or len(self._outbox))
        if is_done or time.monotonic() >= self._drained_by:
            self._stopped = True
            self._outbox.hang_up()

    async def _tend(self) -> None:
        """Announce what runs for longer, pass on its output, let idle runs go, and leave with the project."""
        ticks = 0
        while True:
            await anyio.sleep(self._tick)
            ticks += 1
            self._watchdog.turned()
            self._held.tend(is_fifth=ticks % 5 == 0)
            now = time.monotonic()
            for attempt in self._remote.attempts:
                attempt.check_heartbeat(now)
            if ticks % 5 == 0 and self._remote.hear():
                self._outbox.speak_of_tasks()
                for glimpse in self._remote.glimpses():
                    self._outbox.send(glimpse)
            self._reclaimer.reclaim(is_quiet=not self._stirred)
            self._stirred = False
            if self._drained_by is not None:
                self._hand_over()
            if ticks % 20 == 0:
                self._outbox.send(Alive(len(list(self._held.attempts)) + self._remote.running))
                if not self.home.exists():
                    self._stopped = True
                    self._tasks.cancel_scope.cancel()

    def _warn_step(self, code: CodeType, text: str) -> bool:
        """Put a warning into the log of the running step whose code this is; called from another thread."""
        for attempt in (*self._held.attempts, *self._remote.attempts):
            function = unwrap(attempt.call.command.step.function)
            if getattr(function, "__code__", None) is code:
                attempt.collected.add(Chunk(stream="log", text=text))
                return True
        return False


async def _raise(error: BaseException) -> None:
    """What goes wrong in the worker itself ends it."""
    raise error
