"""Task queues from Python: what waits in them, and limits that code sets for runs it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbook.api.connection import Connection, connect
from flowbook.client import queue_asks
from flowbook.core.queues import NO_LIMITS, Queue, as_queue

if TYPE_CHECKING:
    from flowbook.wire.queues import QueueStatus

__all__ = ["Queue", "queues"]


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
