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
from flowbook.wire import protocol
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
    Packet,
    Released,
    StopTask,
    Task,
    TaskReported,
    ToWorker,
    WorkerHello,
    pack,
)
from flowbook.worker import packing
from flowbook.worker.arrivals import Arrivals, NeedsCode
from flowbook.worker.attempts import Attempt
from flowbook.worker.crew import Crew
from flowbook.worker.held import MOST_ITEMS, HeldRun, run_attempt
from flowbook.worker.inspection import Watch, inspect
from flowbook.worker.link import Link
from flowbook.worker.reclaiming import Reclaimer
from flowbook.worker.tasks import RemoteTask, Tasks, run_task
from flowbook.worker.watchdog import Watchdog
from flowbook.worker.workplace import Workplace

ANNOUNCE_AFTER = 0.005
"""Seconds an attempt runs before its start is worth an event of its own."""

BURST = 32
"""Results that are sent before the turn of the loop ends, so that the engine works beside this worker, not after it."""

KEEP_IDLE = 5.0
"""Seconds an idle run stays in memory, so that the next signal finds it there."""

KEEP_COUNT = 100
"""Idle runs kept in memory at most."""

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
        always_evict: bool = False,
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
        self._keep = 0.0 if always_evict else KEEP_IDLE
        self._tick = 0.002 if always_evict else 0.05
        self._held: dict[RunId, HeldRun] = {}
        self._crew = Crew(self._attempt_broke)
        self._remote = Tasks(self._workplace, self._begin_task)
        self._drained_by: float | None = None
        self._arrivals = Arrivals(self, self._send, self._loading)
        self._reclaimer = Reclaimer()
        self._stirred = False
        self._out: list[Packet] = []
        self._speaking: dict[RunId, HeldRun] = {}
        self._said = 0
        self._link: Link | None = None
        self._stopped = False
        self._tasks: anyio.abc.TaskGroup

    def watch(self) -> None:
        """Take charge of this process for its life, which is the worker's own.

        A thread looks whether its loop turns, steps begin in its folder, and what they fork has no part in the
        connection.
        """
        self._watchdog.start()
        os.register_at_fork(after_in_child=self._forked)
        self._workplace.folder = self._workplace.start = os.getcwd()

    def _forked(self) -> None:
        if self._link is not None:
            self._link.let_go()

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
                self._drop_all()
                await self._crew.rest(STOP_WITHIN)
                self._tasks.cancel_scope.cancel()
        except BaseException as error:
            # Before its attempts end with it: one of them may have brought it down, but for one that is interrupted.
            if not isinstance(error, asyncio.CancelledError):
                self._mark.seal()
            raise
        finally:
            self._drop_all()
            self._crew.leave()
            self._watchdog.leave()
            self._mark.remove()

    def _drop_all(self) -> None:
        for held in self._held.values():
            held.drop()
        self._held.clear()

    async def _find_engine(self) -> launch.Address | None:
        deadline = time.monotonic() + RETURN_WITHIN
        while time.monotonic() < deadline and self.home.exists():
            with suppress(EngineUnavailable, OSError):
                return await anyio.to_thread.run_sync(launch.ensure_engine, self.home)
            await anyio.sleep(1.0)
        return None

    async def _serve(self, address: launch.Address) -> None:
        self._out.clear()
        self._arrivals.clear()
        holding = {run: held.seq for run, held in self._held.items()}
        link = Link(self._receive, self._outgoing)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: link, address.socket)
        except OSError:
            return
        self._link = link
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
        self._send(hello)
        if self._drained_by is not None:
            self._send(Draining())
        try:
            await link.closed.wait()
        finally:
            link.close()

    def _outgoing(self) -> list[bytes]:
        self._said = 0
        frames = [packing.sent(packet) for packet in self._out]
        self._out.clear()
        speaking, self._speaking = self._speaking, {}
        for held in speaking.values():
            report = held.report()
            while report is not None:
                try:
                    frame = pack(report, protocol.ROOM)
                except packing.UNSAYABLE:
                    frame = b""
                # Most are small: what each item of a report takes is not looked at before the whole is too much.
                if frame and len(frame) <= protocol.PIECE:
                    frames.append(frame)
                else:
                    frames += packing.in_parts(held.unsayable, held.cut(report))
                report = held.report() if len(report.items) >= MOST_ITEMS else None
        frames += [packing.reported(self._remote.unsayable, task) for task in self._remote.outgoing()]
        return frames

    def _speak(self, held: HeldRun) -> None:
        """The run may have something to report."""
        self._speaking[held.run] = held
        self._said += 1
        if self._link is not None:
            if self._said >= BURST:
                self._link.send()
            else:
                self._link.flush()

    def _speak_of_tasks(self) -> None:
        if self._link is not None:
            self._link.flush()

    def _send(self, packet: Packet) -> None:
        self._out.append(packet)
        if self._link is not None:
            self._link.flush()

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
                held = self._held.pop(packet.run, None)
                if held is not None:
                    held.drop()
            case Task():
                if self._remote.take(packet):
                    self._arrivals.take(packet)
            case CancelTask():
                self._remote.cancel(packet.task)
                self._speak_of_tasks()
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
                if self._link is not None:
                    self._link.close()
                if packet.reason:
                    sys.stderr.write(f"the engine ended the connection: {packet.reason}\n")

    def commit(self, packet: Commit) -> None:
        """See ``Doing``."""
        held = self._held.get(packet.run)
        if held is not None:
            held.commit(packet)
            if held.over:
                self._forget(held)
            self._speak(held)
        elif packet.lease:
            # The run was dropped, under the last engine's lease, while this one's was on its way.
            self._send(Released(packet.run, packet.lease, Seq(0)))

    def act(self, packet: NeedsCode, module: modules.LoadedModule) -> None:
        """See ``Doing``."""
        if isinstance(packet, Task):
            self._remote.begin(packet, module)
            self._speak_of_tasks()
            return
        if isinstance(packet, Inspect):
            self._send(inspect(packet, module, self._files, self._watching(packet)))
            return
        held = self._hold(packet)
        held.activate(packet, module)
        if held.over:
            self._forget(held)
        self._speak(held)

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
            self._speak_of_tasks()
            return
        if isinstance(packet, Inspect):
            self._send(inspect(packet, None, self._files, self._watching(packet), error))
            return
        held = self._hold(packet)
        held.pause(error if isinstance(error, Exception) else RuntimeError(f"it called exit: {error}"))
        self._speak(held)

    def _hold(self, packet: Activate) -> HeldRun:
        before = self._held.pop(packet.run, None)
        if before is not None:
            before.drop()
        held = HeldRun(packet.run, packet.lease, self.worker, self._workplace, self._begin, self._watchdog)
        held.draining = self._drained_by is not None
        self._held[packet.run] = held
        return held

    def _forget(self, held: HeldRun) -> None:
        if self._held.get(held.run) is held:
            del self._held[held.run]

    # Attempts and idle runs

    def _begin(self, held: HeldRun, attempt: Attempt) -> None:
        self._crew.run(run_attempt(held, attempt, self._speak))

    def _begin_task(self, task: RemoteTask, attempt: Attempt) -> None:
        self._crew.run(run_task(task, attempt, self._speak_of_tasks))

    def _attempt_broke(self, error: BaseException) -> None:
        self._tasks.start_soon(_raise, error)

    def drain(self, grace: float | None = None) -> None:
        """Take nothing new; leave when what runs has ended, or when its time is up."""
        if self._drained_by is not None or self._stopped:
            return
        self._drained_by = time.monotonic() + (self._grace if grace is None else grace)
        for held in self._held.values():
            held.draining = True
        self._send(Draining())

    def _hand_over(self) -> None:
        """Let go of every run that has no step running; leave when nothing is left."""
        assert self._drained_by is not None
        if self._arrivals.waiting and time.monotonic() < self._drained_by:
            return
        for held in list(self._held.values()):
            packet = held.hand_over()
            if packet is not None:
                del self._held[held.run]
                self._send(packet)
        is_done = not self._held and not len(self._remote) and not self._out
        if is_done or time.monotonic() >= self._drained_by:
            self._stopped = True
            if self._link is not None:
                self._link.close()

    async def _tend(self) -> None:
        """Announce what runs for longer, pass on its output, let idle runs go, and leave with the project."""
        ticks = 0
        while True:
            await anyio.sleep(self._tick)
            ticks += 1
            self._watchdog.turned()
            for held in self._held.values():
                if held.attempts:
                    self._announce(held, ticks)
                    held.check_heartbeats()
            now = time.monotonic()
            for attempt in self._remote.attempts:
                attempt.check_heartbeat(now)
            if ticks % 5 == 0 and self._remote.hear():
                self._speak_of_tasks()
                for glimpse in self._remote.glimpses():
                    self._send(glimpse)
            self._release_idle()
            self._reclaimer.reclaim(is_quiet=not self._stirred)
            self._stirred = False
            if self._drained_by is not None:
                self._hand_over()
            if ticks % 20 == 0:
                busy = sum(len(held.attempts) for held in self._held.values())
                self._send(Alive(busy + self._remote.running))
                if not self.home.exists():
                    self._stopped = True
                    self._tasks.cancel_scope.cancel()

    def _warn_step(self, code: CodeType, text: str) -> bool:
        """Put a warning into the log of the running step whose code this is; called from another thread."""
        own = [attempt for held in list(self._held.values()) for attempt in list(held.attempts.values())]
        for attempt in own + self._remote.attempts:
            function = unwrap(attempt.call.command.step.function)
            if getattr(function, "__code__", None) is code:
                attempt.collected.add(Chunk(stream="log", text=text))
                return True
        return False

    def _announce(self, held: HeldRun, ticks: int) -> None:
        now = time.time()
        for attempt in held.attempts.values():
            if attempt.began is None or now - attempt.began < ANNOUNCE_AFTER:
                continue
            if not attempt.announced or ticks % 5 == 0:
                held.announce(attempt)
                self._speak(held)
        glimpse = held.glimpse()
        if glimpse is not None:
            self._send(glimpse)

    def _release_idle(self) -> None:
        now, monotonic = time.time(), time.monotonic()
        idle = [held for held in self._held.values() if held.releasable(now)]
        excess = len(idle) - KEEP_COUNT
        for index, held in enumerate(sorted(idle, key=lambda held: held.idle_since)):
            if index < excess or monotonic - held.idle_since >= self._keep:
                del self._held[held.run]
                self._send(held.release())
                self._reclaimer.dropped()


async def _raise(error: BaseException) -> None:
    """What goes wrong in the worker itself ends it."""
    raise error
