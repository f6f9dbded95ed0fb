"""Steps of queues in workers' hands: handing them over, what workers say about them, and workers that are lost."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from flowbook.core.dispatch import Ticket, TicketId
from flowbook.core.events import Place, RunStarted, StepHeartbeat, StepScheduled
from flowbook.core.ids import Key, RunId, Seq, WorkerId
from flowbook.core.messages import PauseRun, WorkerLost
from flowbook.core.value import Value
from flowbook.engine.engine import Engine
from flowbook.engine.fleet import Fleet
from flowbook.engine.links import WorkerLink
from flowbook.engine.runs import LiveRun
from flowbook.engine.shelf import Shelf
from flowbook.engine.told import Told
from flowbook.store.base import decode_recorded
from flowbook.store.mark import NOTHING_LEFT, Left
from flowbook.wire.protocol import CancelTask, StopTask, Task, TaskRef, TaskReport, TaskReported, WorkerHello


class QueueStep:
    """A step that waits or runs.

    ``seq`` is where its ``StepScheduled`` lies; ``worker`` has ``attempt`` in hand, or is about to get it
    (``reserved``).
    """

    __slots__ = ("attempt", "id", "queue", "reserved", "seq", "ticket", "worker")

    def __init__(self, id: TicketId, queue: str, seq: Seq) -> None:
        self.id = id
        self.queue = queue
        self.seq = seq
        self.ticket = Ticket(id)
        self.attempt = 0
        self.worker: WorkerId | None = None
        self.reserved = False

    @property
    def ref(self) -> TaskRef:
        """What the worker calls it."""
        return TaskRef(self.id[0], self.id[1], self.attempt, self.queue)


class Tasks:
    """All steps of queues that have not ended. ``freed`` is called when a worker has room again."""

    def __init__(self, engine: Engine, fleet: Fleet, shelf: Shelf, freed: Callable[[], None]) -> None:
        self._engine = engine
        self._fleet = fleet
        self._shelf = shelf
        self._freed = freed
        self._steps: dict[TicketId, QueueStep] = {}
        self._of_run: dict[RunId, dict[Key, None]] = {}

    def __len__(self) -> int:
        return len(self._steps)

    def get(self, run: RunId, key: Key) -> QueueStep | None:
        """The step, if it is one of a queue that has not ended."""
        return self._steps.get((run, key))

    def keys(self, run: RunId) -> list[Key]:
        """The run's steps of queues, in the order they were scheduled."""
        return list(self._of_run.get(run, ()))

    def has_of(self, queue: str) -> bool:
        """True when a step of this queue has not ended."""
        return any(step.queue == queue for step in self._steps.values())

    def add(self, run: RunId, event: StepScheduled, seq: Seq) -> None:
        """A step was scheduled."""
        step = QueueStep((run, event.key), event.queue, seq)
        self._steps[step.id] = step
        self._of_run.setdefault(run, {})[event.key] = None

    def link_of(self, step: QueueStep) -> WorkerLink | None:
        """The connection of the worker that has it in hand."""
        return self._fleet.links.get(step.worker) if step.worker is not None else None

    def begin(self, run: LiveRun, step: QueueStep, worker: WorkerId, attempt: int) -> None:
        """Its start is durable: the worker gets it, once."""
        step.reserved = False
        if (step.attempt, step.worker) == (attempt, worker):
            return
        step.attempt, step.worker = attempt, worker
        self._shelf[step.queue].dispatcher.runs(step.ticket, worker)
        link = self.link_of(step)
        if link is not None:
            link.tasks.add(step.id)
            self._send(run, step, link)

    def ask_to_stop(self, step: QueueStep) -> None:
        """Nobody needs its result: the worker that has it in hand is told."""
        link = self.link_of(step)
        if link is not None:
            link.link.say(StopTask(step.ref))

    def free(self, step: QueueStep) -> None:
        """It is no longer any worker's to do."""
        self._shelf[step.queue].dispatcher.withdraw(step.id)
        link = self.link_of(step)
        if link is not None and step.id in link.tasks:
            link.tasks.discard(step.id)
            self._linger(link, step.ref, step.ticket)
        step.worker, step.reserved = None, False

    def _linger(self, link: WorkerLink, ref: TaskRef, ticket: Ticket) -> None:
        """An attempt that nobody waits for counts until its worker says that it has stopped."""
        lingering = _lingering(ref)
        link.tasks.add(lingering)
        self._shelf[ref.queue].dispatcher.runs(ticket._replace(id=lingering, place=link.place), link.worker)

    def forget(self, step: QueueStep) -> None:
        """The step has ended. What its worker still has in hand is stopped."""
        if step.reserved:
            return
        del self._steps[step.id]
        run, key = step.id
        keys = self._of_run.get(run, {})
        keys.pop(key, None)
        if not keys:
            self._of_run.pop(run, None)
        self._shelf[step.queue].dispatcher.withdraw(step.id)
        link = self.link_of(step)
        if link is not None and step.id in link.tasks:
            link.tasks.discard(step.id)
            self._linger(link, step.ref, step.ticket)
            link.link.say(CancelTask(step.ref))

    def _send(self, run: LiveRun, step: QueueStep, link: WorkerLink) -> None:
        scheduled = decode_recorded(run.records[step.seq - 1]).event
        started = decode_recorded(run.records[0]).event
        assert isinstance(scheduled, StepScheduled) and isinstance(started, RunStarted)
        details = _details(run, step.id[1]) if step.attempt > 1 else None
        seed = started.seed or started.run
        unwanted = step.id[1] in run.state.unwanted
        about = step.ref, run.state.module, run.state.workflow, scheduled, details, seed, unwanted
        link.link.say(Task(*about, started.original))

    # What workers say

    def report(self, link: WorkerLink, packet: TaskReport) -> None:
        """A worker has something to say about a task."""
        ref = packet.task
        told = Told(ref.run, [item for item in packet.items if getattr(item, "key", None) == ref.key])
        told.check = lambda: self._is_current(link, ref)
        if packet.ended:
            self._ended(link, ref)

        def after() -> None:
            link.link.say(TaskReported(ref, packet.number))
            if packet.ended:
                self._freed()

        told.after = after
        self._engine.tell(told)

    def _is_current(self, link: WorkerLink, ref: TaskRef) -> bool:
        run = self._engine.runs.open.get(ref.run)
        live = run.state.steps.get(ref.key) if run is not None else None
        return live is not None and live.running and (live.worker, live.attempt) == (link.worker, ref.attempt)

    def _ended(self, link: WorkerLink, ref: TaskRef) -> None:
        """The worker has stopped with it."""
        step = self.get(ref.run, ref.key)
        if step is not None and (step.worker, step.attempt) == (link.worker, ref.attempt):
            link.tasks.discard(step.id)
        else:
            link.tasks.discard(_lingering(ref))
            self._shelf[ref.queue].dispatcher.withdraw(_lingering(ref))

    # Workers come and go

    def joined(self, link: WorkerLink, hello: WorkerHello) -> None:
        """A worker is there: what it should have and has not is sent, what it has and should not is stopped."""
        link.tasks.clear()
        in_hand = {(ref.run, ref.key, ref.attempt): ref for ref in hello.tasks}
        for step in self._steps.values():
            if step.worker != link.worker or step.reserved:
                continue
            link.tasks.add(step.id)
            run = self._engine.runs.open.get(step.id[0])
            if in_hand.pop((*step.id, step.attempt), None) is None and run is not None:
                self._send(run, step, link)
        for ref in in_hand.values():
            known = self.get(ref.run, ref.key)
            self._linger(link, ref, known.ticket if known is not None else Ticket((ref.run, ref.key)))
            link.link.say(CancelTask(ref))
        self._freed()

    def left(self, link: WorkerLink) -> None:
        """A worker's connection has ended. What only was to be stopped is over; its tasks wait for its fate."""
        for ticket in link.tasks - self._steps.keys():
            self._shelf.withdraw(ticket)
        link.tasks.clear()

    def lost(self, loss: WorkerLost, left: Left = NOTHING_LEFT) -> None:
        """A worker is gone for good; what it had in hand waits again."""
        runs = {step.id[0] for step in self._steps.values() if step.worker == loss.worker and not step.reserved}
        for run in sorted(runs):
            self._engine.tell(Told(run, [replace(loss, ran=left.of(run))]))

    def lose_absent(self) -> None:
        """Tasks whose workers have not come back since the engine started are due again."""
        for worker in sorted({step.worker for step in self._steps.values() if step.worker is not None}):
            if worker not in self._fleet.links:
                self.lost(WorkerLost(worker, "it was gone when the engine started again", planned=True))

    def unserved(self, place: Place, queue: str, reason: str) -> None:
        """No worker can be started for what waits there: its runs are paused until somebody decides."""
        dispatcher = self._shelf[queue].dispatcher
        runs = {
            step.id[0]
            for step in self._steps.values()
            if step.queue == queue and step.ticket.place == place and dispatcher.is_waiting(step.id)
        }
        for run in sorted(runs):
            self._engine.tell(Told(run, [PauseRun(reason)]))


def _lingering(ref: TaskRef) -> TicketId:
    """What an attempt is called that nobody waits for: its step may have another. No key of a command looks so."""
    return ref.run, Key(f"{ref.key} attempt {ref.attempt}")


def _details(run: LiveRun, key: Key) -> Value | None:
    """What an earlier attempt left with its last heartbeat."""
    live = run.state.steps.get(key)
    if live is None or not live.heartbeat:
        return None
    left = decode_recorded(run.records[live.heartbeat - 1]).event
    assert isinstance(left, StepHeartbeat)
    return left.details
