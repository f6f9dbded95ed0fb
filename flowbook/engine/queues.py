"""Task queues at work: what waits is offered to the dispatchers, and what they grant is recorded before it begins.

What waits and what runs is taken from the runs' states, so that nothing has to be remembered over a restart. A
hand-out is a fact (``StepStarted``) before the worker hears of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from flowbook.core.dispatch import Grant, Server, Ticket
from flowbook.core.events import (
    CLOSING,
    AnyEvent,
    Place,
    RunBegan,
    RunMoved,
    RunPaused,
    RunResumed,
    StepScheduled,
    StepStarted,
)
from flowbook.core.ids import Key, RunId, Seq
from flowbook.core.messages import WorkerLost
from flowbook.core.queues import AnyQueueMessage, limits_from
from flowbook.core.state import LiveStep
from flowbook.engine import hindsight
from flowbook.engine.engine import Engine
from flowbook.engine.fleet import Fleet
from flowbook.engine.links import WorkerLink
from flowbook.engine.runs import LiveRun
from flowbook.engine.shelf import LiveQueue, Shelf
from flowbook.engine.tasks import QueueStep, Tasks
from flowbook.engine.timers import Timers
from flowbook.engine.told import Told
from flowbook.store.mark import Left
from flowbook.wire.protocol import WorkerHello

WHOLE = Key("")
"""In place of a step's key: the run itself waits in a queue."""

_ALL_STEPS = frozenset((RunPaused, RunResumed, RunMoved, *CLOSING))


class Queues:
    """All queues of one engine. Nothing is handed out before ``open``."""

    def __init__(self, engine: Engine, fleet: Fleet) -> None:
        self._engine = engine
        self._fleet = fleet
        self.shelf = Shelf()
        self.tasks = Tasks(engine, fleet, self.shelf, self.dispatch)
        self.timers = Timers(engine.clock)
        self._noted: list[tuple[LiveRun, Key]] = []
        self._is_open = False

    def change(self, name: str, message: AnyQueueMessage) -> LiveQueue:
        """Have a queue set, paused, resumed or deleted. Raises StoreError; then nothing has changed."""
        queue = self.shelf.change(name, message, self._engine.store, self._engine.clock)
        self._engine.committed.set()
        self.dispatch()
        return queue

    def is_used(self, name: str) -> bool:
        """True while something waits or runs there, or will when its run goes on."""
        dispatcher = self.shelf[name].dispatcher
        return bool(dispatcher.waiting or dispatcher.running) or self.tasks.has_of(name)

    # What happens to runs

    def note(self, run: LiveRun, event: AnyEvent) -> None:
        """See ``Queueing``."""
        if type(event) is StepScheduled:
            self._scheduled(run, event, run.state.seq)
        if run.state.queue:
            self._noted.append((run, WHOLE))
        if not self.tasks:
            return
        if type(event) in _ALL_STEPS:
            self._noted += [(run, key) for key in self.tasks.keys(run.id)]
        key = getattr(event, "key", None)
        if key is not None and self.tasks.get(run.id, key) is not None:
            self._noted.append((run, key))

    def take_in(self, run: LiveRun) -> None:
        """See ``Queueing``."""
        for recorded, event in hindsight.scheduled(run):
            self._scheduled(run, event, recorded.seq)
            self._noted.append((run, event.key))
        self.act()

    def _scheduled(self, run: LiveRun, event: StepScheduled, seq: Seq) -> None:
        self.tasks.add(run.id, event, seq)
        self.shelf[event.queue].declare(limits_from(event.options.get("limits")))

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

    def joined(self, link: WorkerLink, hello: WorkerHello) -> None:
        """See ``TaskHolder``."""
        self.tasks.joined(link, hello)

    def left(self, link: WorkerLink) -> None:
        """See ``TaskHolder``."""
        self.tasks.left(link)

    def lost(self, loss: WorkerLost, left: Left) -> None:
        """See ``TaskHolder``."""
        self.tasks.lost(loss, left)

    def unserved(self, place: Place, queue: str, reason: str) -> None:
        """See ``TaskHolder``."""
        self.tasks.unserved(place, queue, reason)

    # One run or step, from its state

    def _follow_run(self, run: LiveRun) -> None:
        state = run.state
        if state.closed or not state.seq or (state.queued and state.paused):
            self.shelf.withdraw((run.id, WHOLE))
        elif state.queued:
            self.shelf[state.queue].dispatcher.offer(_run_ticket(run))
        else:
            self.shelf[state.queue].dispatcher.runs(_run_ticket(run))

    def _follow_step(self, run: LiveRun, key: Key) -> None:
        step = self.tasks.get(run.id, key)
        if step is None:
            return
        live = run.state.steps.get(key)
        if live is None or not live.queue:
            self.tasks.forget(step)
            return
        step.ticket = Ticket(step.id, run.state.place, live.priority, live.concurrency_key)
        if live.running and not live.waiting:
            self.tasks.begin(run, step, live.worker, live.attempt)
            if key in run.state.unwanted:
                self.tasks.ask_to_stop(step)
        elif not step.reserved:
            self.tasks.free(step)
            due = live.retry_at <= self._engine.clock.now()
            if due and not (run.state.paused or live.waiting):
                self.shelf[step.queue].dispatcher.offer(step.ticket)

    # Handing out

    def open(self) -> None:
        """From here on tasks are handed out; those of workers that are gone are due again."""
        self.tasks.lose_absent()
        self._is_open = True
        self.dispatch()

    def dispatch(self) -> None:
        """Hand out what may be handed out now: the queues take turns, one task each."""
        now = self._engine.clock.now()
        handed = self._is_open
        while handed:
            handed = False
            for queue in self.shelf:
                if queue.dispatcher.waiting and not queue.dispatcher.paused:
                    grant = queue.dispatcher.next(now, self._servers(queue.name))
                    if grant is not None:
                        handed = True
                        self.shelf.was_served(queue)
                        self._grant(grant)
        if self._is_open:
            for queue in self.shelf:
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
        self.shelf[name].armed = None
        self.dispatch()

    def _grant(self, grant: Grant) -> None:
        run = self._engine.runs.open.get(grant.ticket.id[0])
        if grant.worker is None:
            told = Told(grant.ticket.id[0], [RunBegan()])
            told.after = lambda: self._take_back_run(grant.ticket.id[0])
            self._engine.tell(told)
            return
        step = self.tasks.get(*grant.ticket.id)
        assert step is not None
        step.reserved, step.worker, step.attempt = True, grant.worker, 0
        link = self._fleet.links[grant.worker]
        link.tasks.add(step.id)
        live = run.state.steps.get(step.id[1]) if run is not None else None
        if live is None:
            self._take_back(step, link)
            return
        told = Told(step.id[0], [_begun(step, live, link)])
        told.check = lambda: self._fleet.links.get(link.worker) is link and not link.draining
        told.after = lambda: self._take_back(step, link)
        self._engine.tell(told)

    def _take_back_run(self, id: RunId) -> None:
        """A turn that did not become a fact has not happened."""
        run = self._engine.runs.open.get(id)
        if run is not None and run.state.queued:
            self.shelf[run.state.queue].dispatcher.withdraw((id, WHOLE))
            self._follow_run(run)
            self.dispatch()

    def _take_back(self, step: QueueStep, link: WorkerLink) -> None:
        """A hand-out that did not become a fact has not happened."""
        if not step.reserved:
            return
        step.reserved = False
        link.tasks.discard(step.id)
        self.tasks.free(step)
        run = self._engine.runs.get(step.id[0])
        if run is None:
            self.tasks.forget(step)
        else:
            self._follow_step(run, step.id[1])
        self.dispatch()

    # Recovery

    def recover(self) -> None:
        """Take over what was set, what open runs wait for and what runs, in the order in which it came."""
        self.shelf.recall(self._engine.store)
        came: list[tuple[float, LiveRun, Key]] = []
        for run in self._engine.runs.open.values():
            if any(live.queue for live in run.state.steps.values()):
                for recorded, event in hindsight.scheduled(run):
                    self._scheduled(run, event, recorded.seq)
                    came.append((recorded.time, run, event.key))
            if run.state.queue:
                came.append((run.state.started, run, WHOLE))
        for _, run, key in sorted(came, key=lambda each: each[0]):
            self._noted.append((run, key))
        hindsight.recall_rates(self.shelf, self._engine)
        self.act()


def _run_ticket(run: LiveRun) -> Ticket:
    return Ticket((run.id, WHOLE), None, run.state.priority, run.state.concurrency_key)


def _begun(step: QueueStep, live: LiveStep, link: WorkerLink) -> StepStarted:
    return StepStarted(
        key=step.id[1],
        step=live.step,
        attempt=live.attempt + 1,
        worker=link.worker,
        item=live.item,
        site=live.site,
        once=live.once,
    )
