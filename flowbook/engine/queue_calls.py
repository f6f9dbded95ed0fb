"""What clients ask about queues and workers. A change is answered once it is durable."""

from __future__ import annotations

import difflib

from flowbook.core.queues import DeleteQueue, ResumeQueue, check_change
from flowbook.engine.fleet import Fleet
from flowbook.engine.links import ClientLink, WorkerLink
from flowbook.engine.queues import Queues
from flowbook.engine.shelf import LiveQueue
from flowbook.errors import UserError
from flowbook.wire.calls import Nothing
from flowbook.wire.protocol import Drain
from flowbook.wire.queues import ChangeQueue, DrainWorker, QueueLimits, QueueStatus


class QueueCalls:
    """The methods; each takes the client's link, the request's number and its parameters."""

    def __init__(self, queues: Queues, fleet: Fleet) -> None:
        self._queues = queues
        self._fleet = fleet

    def all(self, client: ClientLink, request: int, params: Nothing) -> None:
        """Every queue that something was said about, or that has a worker."""
        served = self._served()
        for name in served:
            self._queues.shelf[name]
        found = [queue for queue in self._queues.shelf if queue.is_there or queue.name in served]
        client.answer(request, [self._status(queue) for queue in sorted(found, key=lambda queue: queue.name)])

    def change(self, client: ClientLink, request: int, params: ChangeQueue) -> None:
        """Set limits, pause, resume or delete. Raises UserError where that makes no sense, StoreError."""
        check_change(params.name, params.change)
        is_new = params.name not in self._queues.shelf and params.name not in self._served()
        if isinstance(params.change, ResumeQueue | DeleteQueue) and is_new:
            raise self._unknown(params.name)
        if isinstance(params.change, DeleteQueue):
            self._require_unused(params.name)
        queue = self._queues.change(params.name, params.change)
        client.answer(request, self._status(queue, is_new))

    def _served(self) -> set[str]:
        return {queue for link in self._fleet.links.values() for queue in link.queues}

    def _unknown(self, name: str) -> UserError:
        known = sorted({*(queue.name for queue in self._queues.shelf if queue.is_there), *self._served()})
        close = difflib.get_close_matches(name, known, 1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        return UserError(f"there is no queue '{name}'.{hint} `flowbook queues` lists them.")

    def _require_unused(self, name: str) -> None:
        status = self._status(self._queues.shelf[name])
        if status["workers"]:
            raise UserError(f"queue '{name}' is in use: worker {status['workers'][0]} serves it. Drain it first.")
        if self._queues.is_used(name):
            raise UserError(
                f"queue '{name}' is in use: {status['waiting']} wait, {status['running']} run. End them first."
            )

    def drain(self, client: ClientLink, request: int, params: DrainWorker) -> None:
        """Tell a worker to leave. Raises UserError where there is none of this id."""
        link = self._worker(params.worker)
        self._fleet.drain(link)
        link.link.say(Drain())
        client.answer(request, link.pid)

    def _worker(self, named: str) -> WorkerLink:
        for link in self._fleet.links.values():
            if named in (link.worker, str(link.pid)):
                return link
        raise UserError(f'this engine has no worker "{named}". `flowbook workers` lists them.')

    def _status(self, queue: LiveQueue, is_new: bool = False) -> QueueStatus:
        limits = queue.dispatcher.limits
        return QueueStatus(
            name=queue.name,
            waiting=queue.dispatcher.waiting,
            running=queue.dispatcher.running,
            limits=QueueLimits(
                concurrency=limits.concurrency or None,
                worker_concurrency=limits.worker_concurrency or None,
                key_concurrency=limits.key_concurrency or None,
                rate=str(limits.rate) if limits.rate is not None and limits.rate.count else None,
            ),
            paused=queue.state.paused,
            reason=queue.state.reason,
            paused_since=queue.state.since if queue.state.paused else None,
            workers=sorted(link.pid for link in self._fleet.links.values() if queue.name in link.queues),
            new=is_new,
        )
