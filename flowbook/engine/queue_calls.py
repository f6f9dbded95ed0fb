"""What clients ask about queues and workers. A change is answered once it is durable."""

from __future__ import annotations

from flowbook.core.queues import checked_name
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
        served = {queue for link in self._fleet.links.values() for queue in link.queues}
        for name in served:
            self._queues.shelf[name]
        found = sorted(self._queues.shelf, key=lambda queue: queue.name)
        client.answer(request, [self._status(queue) for queue in found])

    def change(self, client: ClientLink, request: int, params: ChangeQueue) -> None:
        """Set limits, pause or resume. Raises UserError for a name that can be none, StoreError."""
        queue = self._queues.change(checked_name(params.name), params.change)
        client.answer(request, self._status(queue))

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

    def _status(self, queue: LiveQueue) -> QueueStatus:
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
        )
