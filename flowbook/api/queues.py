"""Task queues from Python: what waits in them, and limits that code sets for runs it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from flowbook.api.connection import Connection, connect
from flowbook.client import queue_asks
from flowbook.core.queues import NO_LIMITS, Queue, as_queue
from flowbook.errors import UserError
from flowbook.runtime.remote import check_order

if TYPE_CHECKING:
    from flowbook.wire.queues import QueueStatus

__all__ = ["Queue", "queues"]


class InQueue(NamedTuple):
    """Where a run waits for its turn: as the options of ``start`` say it."""

    queue: Queue | str | None = None
    priority: int = 0
    concurrency_key: str = ""

    def checked(self, connection: Connection) -> dict[str, Any]:
        """The fields of ``StartRun``; limits that code gives are made known first. Raises UserError."""
        if self.queue is None or self.queue == "":
            if self.priority or self.concurrency_key:
                raise UserError('a run has a priority or a concurrency_key only in a queue; add queue="..."')
            return {}
        check_order("the run", self.priority, self.concurrency_key)
        name = declared(connection, self.queue)
        return {"queue": name, "priority": self.priority, "concurrency_key": str(self.concurrency_key)}


def queues() -> list[QueueStatus]:
    """This project's task queues, by name: ``waiting``, ``running``, ``limits``, ``paused``, ``workers``."""
    return connect().client.ask(queue_asks.queues())


def declared(connection: Connection, queue: Queue | str | None) -> str:
    """The name of the queue to start a run in, its limits made known first; "" for none. Raises UserError."""
    if queue is None or queue == "":
        return ""
    meant = as_queue(queue)
    if meant.limits != NO_LIMITS:
        connection.client.ask(queue_asks.set_limits(meant.name, meant.limits, by="code"))
    return meant.name
