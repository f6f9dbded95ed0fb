"""Task queues at work: what waits is offered to the dispatchers, what they grant is recorded and then handed out.

What waits and what runs is taken from the runs' states, so that nothing has to be remembered over a restart. A
hand-out is a fact (``StepStarted``) before the worker hears of it.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from flowbook.core.dispatch import Dispatcher, Grant, Server, Ticket, TicketId
from flowbook.core.events import (
    CLOSING,
    AnyEvent,
    CancelRequested,
    Place,
    RunCancelled,
    RunFailed,
    RunMoved,
    RunPaused,
    RunResumed,
    RunStarted,
    StepHeartbeat,
    StepScheduled,
    StepStarted,
)
from flowbook.core.failure import Failure
from flowbook.core.ids import Key, RunId, Seq, WorkerId
from flowbook.core.messages import PauseRun, WorkerLost
from flowbook.core.queues import (
    NO_LIMITS,
    PREFIX,
    AnyQueueMessage,
    Limits,
    QueueRecorded,
    QueueState,
    decide,
    evolve,
    limits_from,
    stream,
)
from flowbook.core.state import LiveStep
from flowbook.core.value import Value
from flowbook.engine.engine import Engine, Told
from flowbook.engine.fleet import Fleet
from flowbook.engine.links import WorkerLink
from flowbook.engine.runs import LiveRun
from flowbook.engine.timers import Timers
from flowbook.store.base import Group, Store, decode_recorded
from flowbook.wire.protocol import CancelTask, Task, TaskRef, TaskReport, TaskReported, WorkerHello

log = logging.getLogger("flowbook.engine.queues")

_decode = msgspec.json.Decoder(QueueRecorded).decode

WHOLE = Key("")
"""In place of a step's key: the run itself waits in a queue."""

_ALL_STEPS = (RunPaused, RunResumed, RunMoved, *CLOSING)


class LiveQueue:
    """One queue: what was set for it, what the code last said, and who is next."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = QueueState()
        self.declared: Limits = NO_LIMITS
        self.dispatcher = Dispatcher()
        self.armed: float | None = None

    def apply(self) -> None:
        """Have the dispatcher keep to what holds now."""
        self.dispatcher.limits = self.state.user.over(self.declared).over(self.state.code)
        self.dispatcher.paused = self.state.paused


class _Step:
    """A step that waits or runs. ``seq`` is where its ``StepScheduled`` lies; ``worker`` has ``attempt`` in hand,

    or is about to get it (``reserved``).
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


class Queues:
    """All queues of one engine. Nothing is handed out before ``open``."""

    def __init__(self, engine: Engine, fleet: Fleet) -> None:
        self._engine = engine
        self._fleet = fleet
        self.live: OrderedDict[str, LiveQueue] = OrderedDict()
        self.timers = Timers(engine.clock)
        self._steps: dict[TicketId, _Step] = {}
        self._of_run: dict[RunId, dict[Key, None]] = {}
        self._noted: list[tuple[LiveRun, Key]] = []
        self._is_open = False

    def recall(self, store: Store) -> None:
        """Learn at start what was set for which queue."""
        for found, records in store.streams(PREFIX):
            queue = self.queue(found.removeprefix(PREFIX))
            for record in records:
                evolve(queue.state, _decode(record))
            queue.apply()

    def change(self, name: str, message: AnyQueueMessage) -> LiveQueue:
        """Have a queue set, paused or resumed. Raises StoreError; then nothing has changed."""
        queue, now = self.queue(name), self._engine.clock.now()
        events = decide(queue.state, message)
        if events:
            group = Group()
            recorded = [QueueRecorded(Seq(queue.state.seq + 1 + n), now, event) for n, event in enumerate(events)]
            for each in recorded:
                group.note(stream(name), each.seq, each.time, each.event)
            self._engine.store.commit(group)
            self._engine.committed.set()
            for each in recorded:
                evolve(queue.state, each)
            queue.apply()
            self.dispatch()
        return queue

    def queue(self, name: str) -> LiveQueue:
        """The queue of this name; every name is one."""
        found = self.live.get(name)
        if found is None:
            found = self.live[name] = LiveQueue(name)
        return found

    # What happens to runs

    def note(self, run: LiveRun, event: AnyEvent) -> None:
        """See ``Queueing``."""
        match event:
            case StepScheduled():
                self._scheduled(run, event, run.state.seq)
            case RunStarted():
                run.queued = bool(event.queue)
            case CancelRequested() if run.queued:
                self._end_in_queue(run, event)
            case _ if isinstance(event, _ALL_STEPS):
                self._noted += [(run, key) for key in self._of_run.get(run.id, ())]
        if run.state.queue:
            self._noted.append((run, WHOLE))
        key = getattr(event, "key", None)
        if key is not None and (run.id, key) in self._steps:
            self._noted.append((run, key))

    def _scheduled(self, run: LiveRun, event: StepScheduled, seq: Seq) -> None:
        step = _Step((run.id, event.key), event.queue, seq)
        self._steps[step.id] = step
        self._of_run.setdefault(run.id, {})[event.key] = None
        queue = self.queue(event.queue)
        declared = limits_from(event.options.get("limits"))
        if declared != NO_LIMITS and declared != queue.declared:
            queue.declared = declared
            queue.apply()

    def _end_in_queue(self, run: LiveRun, event: CancelRequested) -> None:
        """A run that never had its turn has nothing to clean up."""
        if event.cause == "timeout":
            failure = Failure(type="TimeoutError", message=f"{event.reason}, all of it in queue '{run.state.queue}'")
            self._engine.tell(Told(run.id, [RunFailed(failure=failure)]))
        else:
            self._engine.tell(Told(run.id, [RunCancelled(reason=event.reason)]))

    def act(self) -> None:
        """See ``Queueing``."""
        noted, self._noted = self._noted, []
        for run, key in dict.fromkeys(noted):
            if key == WHOLE:
                self._follow_run(run)
            else:
                self._follow_step(run, key)
        if noted:
            self.dispatch()

    def offer(self, run: LiveRun, keys: Iterable[Key]) -> None:
        """See ``Queueing``."""
        for key in keys:
            self._follow_step(run, key)
        self.dispatch()

    # One run or step, from its state

    def _follow_run(self, run: LiveRun) -> None:
        state = run.state
        dispatcher = self.queue(state.queue).dispatcher
        if state.closed or not state.seq or (run.queued and (state.paused or state.cancelling)):
            dispatcher.withdraw((run.id, WHOLE))
        elif run.queued:
            dispatcher.offer(_run_ticket(run))

    def _follow_step(self, run: LiveRun, key: Key) -> None:
        step = self._steps.get((run.id, key))
        if step is None:
            return
        live = run.state.steps.get(key)
        dispatcher = self.queue(step.queue).dispatcher
        step.ticket = _step_ticket(run, step.id, live)
        if live is None or not live.queue:
            self._forget(step)
        elif live.running and not live.waiting:
            self._is_running(run, step, live)
        elif not step.reserved:
            self._is_free(step)
            due = live.retry_at <= self._engine.clock.now()
            if due and not (run.state.paused or live.waiting):
                dispatcher.offer(step.ticket)

    def _is_running(self, run: LiveRun, step: _Step, live: LiveStep) -> None:
        """Its start is durable: the worker gets it, once."""
        step.reserved = False
        if step.attempt == live.attempt and step.worker == live.worker:
            return
        step.attempt, step.worker = live.attempt, live.worker
        self.queue(step.queue).dispatcher.runs(step.ticket, live.worker)
        link = self._fleet.links.get(live.worker)
        if link is not None:
            link.tasks.add(step.id)
            self._send(run, step, link)

    def _is_free(self, step: _Step) -> None:
        """No worker has it any more."""
        self.queue(step.queue).dispatcher.withdraw(step.id)
        link = self._fleet.links.get(step.worker) if step.worker is not None else None
        if link is not None:
            link.tasks.discard(step.id)
        step.worker, step.reserved = None, False

    def _forget(self, step: _Step) -> None:
        """The step has ended. What its worker still has in hand counts until it says that it has stopped."""
        if step.reserved:
            return
        del self._steps[step.id]
        run, key = step.id
        keys = self._of_run.get(run, {})
        keys.pop(key, None)
        if not keys:
            self._of_run.pop(run, None)
        link = self._fleet.links.get(step.worker) if step.worker is not None else None
        if link is not None and step.id in link.tasks:
            link.link.say(CancelTask(_ref(step)))
        else:
            self.queue(step.queue).dispatcher.withdraw(step.id)

    # Handing out

    def open(self) -> None:
        """From here on tasks are handed out."""
        self._is_open = True
        self.dispatch()

    def dispatch(self) -> None:
        """Hand out what may be handed out now: the queues take turns, one task each."""
        now = self._engine.clock.now()
        handed = self._is_open
        while handed:
            handed = False
            for queue in list(self.live.values()):
                if queue.dispatcher.waiting and not queue.dispatcher.paused:
                    grant = queue.dispatcher.next(now, self._servers(queue.name))
                    if grant is not None:
                        handed = True
                        self.live.move_to_end(queue.name)
                        self._grant(grant)
        if self._is_open:
            for queue in self.live.values():
                self._look_again(queue, now)

    def _servers(self, queue: str) -> list[Server]:
        return [
            Server(link.worker, link.place, link.concurrency - len(link.tasks))
            for link in self._fleet.links.values()
            if queue in link.queues and not link.draining
        ]

    def _look_again(self, queue: LiveQueue, now: float) -> None:
        """What still waits has a reason to: the time comes, or a worker has to be started."""
        dispatcher = queue.dispatcher
        if not dispatcher.waiting or dispatcher.paused:
            return
        opens = dispatcher.opens(now)
        if opens > now:
            if queue.armed is None or queue.armed <= now or opens < queue.armed:
                queue.armed = opens
                self.timers.set(opens, RunId(queue.name))
            return
        for place in dispatcher.places():
            self._fleet.serve(place, queue.name)

    def ring(self, name: RunId, at: float) -> None:
        """A queue's rate lets something through again."""
        self.queue(name).armed = None
        self.dispatch()

    def _grant(self, grant: Grant) -> None:
        run = self._engine.runs.open.get(grant.ticket.id[0])
        if grant.worker is None:
            if run is not None:
                run.queued = False
                self._engine.consider(run)
            return
        step = self._steps[grant.ticket.id]
        step.reserved, step.worker, step.attempt = True, grant.worker, 0
        link = self._fleet.links[grant.worker]
        link.tasks.add(step.id)
        live = run.state.steps.get(step.id[1]) if run is not None else None
        if run is None or live is None:
            self._take_back(step, link)
            return
        started = StepStarted(
            key=step.id[1],
            step=live.step,
            attempt=live.attempt + 1,
            worker=grant.worker,
            item=live.item,
            site=live.site,
            once=live.once,
        )
        told = Told(run.id, [started])
        told.check = lambda: self._fleet.links.get(link.worker) is link and not link.draining
        told.after = lambda: self._take_back(step, link)
        self._engine.tell(told)

    def _take_back(self, step: _Step, link: WorkerLink) -> None:
        """A hand-out that did not become a fact has not happened."""
        if not step.reserved:
            return
        step.reserved = False
        link.tasks.discard(step.id)
        step.worker = None
        self.queue(step.queue).dispatcher.withdraw(step.id)
        run = self._engine.runs.get(step.id[0])
        if run is None:
            self._forget(step)
        else:
            self._follow_step(run, step.id[1])
        self.dispatch()

    def _send(self, run: LiveRun, step: _Step, link: WorkerLink) -> None:
        scheduled = decode_recorded(run.records[step.seq - 1]).event
        assert isinstance(scheduled, StepScheduled)
        details = self._details(run, step) if step.attempt > 1 else None
        state = run.state
        seed = state.origin.run if state.origin is not None else state.run
        link.link.say(Task(_ref(step), state.module, state.workflow, scheduled, details, seed))

    def _details(self, run: LiveRun, step: _Step) -> Value | None:
        """What an earlier attempt left with its last heartbeat."""
        for record in reversed(run.records[step.seq : run.committed]):
            event = decode_recorded(record).event
            if isinstance(event, StepHeartbeat) and event.key == step.id[1]:
                return event.details
        return None

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
                self.dispatch()

        told.after = after
        self._engine.tell(told)

    def _is_current(self, link: WorkerLink, ref: TaskRef) -> bool:
        run = self._engine.runs.open.get(ref.run)
        live = run.state.steps.get(ref.key) if run is not None else None
        return live is not None and live.running and (live.worker, live.attempt) == (link.worker, ref.attempt)

    def _ended(self, link: WorkerLink, ref: TaskRef) -> None:
        """The worker has stopped with it."""
        ticket = (ref.run, ref.key)
        step = self._steps.get(ticket)
        if step is None:
            # It was only waited for until it stopped.
            link.tasks.discard(ticket)
            self.queue(ref.queue).dispatcher.withdraw(ticket)
        elif step.worker == link.worker and step.attempt == ref.attempt:
            link.tasks.discard(ticket)

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
            ticket = (ref.run, ref.key)
            if ticket not in self._steps:
                link.tasks.add(ticket)
                self.queue(ref.queue).dispatcher.runs(Ticket(ticket, link.place), link.worker)
            link.link.say(CancelTask(ref))
        self.dispatch()

    def lost(self, worker: WorkerId, reason: str) -> None:
        """A worker is gone for good; what it had in hand waits again."""
        runs = {step.id[0] for step in self._steps.values() if step.worker == worker and not step.reserved}
        for run in sorted(runs):
            self._engine.tell(Told(run, [WorkerLost(worker, reason)]))

    def left(self, link: WorkerLink) -> None:
        """A worker's connection has ended. What only was to be stopped is over; its tasks wait for its fate."""
        for ticket in link.tasks - self._steps.keys():
            for queue in self.live.values():
                queue.dispatcher.withdraw(ticket)
        link.tasks.clear()

    def unserved(self, place: Place, queue: str, reason: str) -> None:
        """No worker can be started for what waits there: its runs are paused until somebody decides."""
        dispatcher = self.queue(queue).dispatcher
        runs = {
            step.id[0]
            for step in self._steps.values()
            if step.queue == queue and step.ticket.place == place and dispatcher.is_waiting(step.id)
        }
        for run in sorted(runs):
            self._engine.tell(Told(run, [PauseRun(reason)]))

    # Recovery

    def recover(self, runs: Iterable[LiveRun]) -> None:
        """Take over what open runs wait for and what runs, from their histories, in the order in which it came."""
        came: list[tuple[float, LiveRun, Key]] = []
        for run in runs:
            if any(live.queue for live in run.state.steps.values()):
                came += [(time, run, key) for time, key in self._recalled(run)]
            if run.state.queue:
                run.queued = not _had_its_turn(run)
                if not run.queued:
                    self.queue(run.state.queue).dispatcher.runs(_run_ticket(run))
                came.append((run.state.started, run, WHOLE))
        for _, run, key in sorted(came, key=lambda each: each[0]):
            self._noted.append((run, key))
        self.act()

    def _recalled(self, run: LiveRun) -> list[tuple[float, Key]]:
        """The run's steps of queues, and when they were scheduled."""
        found = []
        for record in run.records:
            recorded = decode_recorded(record)
            if isinstance(recorded.event, StepScheduled) and recorded.event.key in run.state.steps:
                self._scheduled(run, recorded.event, recorded.seq)
                found.append((recorded.time, recorded.event.key))
        return found

    def lose_absent(self) -> None:
        """Tasks whose workers have not come back since the engine started are due again."""
        reason = "it was gone when the engine started again"
        for worker in sorted({step.worker for step in self._steps.values() if step.worker is not None}):
            if worker not in self._fleet.links:
                self.lost(worker, reason)


def _ref(step: _Step) -> TaskRef:
    return TaskRef(step.id[0], step.id[1], step.attempt, step.queue)


def _run_ticket(run: LiveRun) -> Ticket:
    return Ticket((run.id, WHOLE), None, run.state.priority, run.state.concurrency_key)


def _step_ticket(run: LiveRun, id: TicketId, live: LiveStep | None) -> Ticket:
    if live is None:
        return Ticket(id, run.state.place)
    return Ticket(id, run.state.place, live.priority, live.concurrency_key)


_FROM_OUTSIDE = frozenset(
    {
        "RunStarted",
        "SignalReceived",
        "UpdateReceived",
        "CancelRequested",
        "TerminateRequested",
        "RunPaused",
        "RunResumed",
        "RunMoved",
    }
)
"""What can happen to a run before its code has begun."""


def _had_its_turn(run: LiveRun) -> bool:
    """True when a worker has said something about the run."""
    return any(type(decode_recorded(record).event).__name__ not in _FROM_OUTSIDE for record in run.records)
