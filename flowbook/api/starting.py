"""Start a run of a compiled module: the one road by which every front door does it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbook.api.arguments import checked
from flowbook.api.connection import Connection, here, new_id
from flowbook.api.queues import NO_QUEUE, InQueue
from flowbook.client.queue_asks import started
from flowbook.core.ids import RunId
from flowbook.core.messages import StartRun
from flowbook.core.module import Module, Workflow

if TYPE_CHECKING:
    from flowbook.wire.calls import Summary


def start(
    connection: Connection,
    module: Module,
    workflow: Workflow,
    arguments: Mapping[str, Any],
    *,
    id: str | None = None,
    name: str = "",
    folder: Path | None = None,
    waits: InQueue = NO_QUEUE,
) -> Summary:
    """Store the module and start the run; when this returns, the run is on disk."""
    queued = waits.checked(connection)
    encoded = {key: connection.encode(value, key) for key, value in checked(workflow, arguments).items()}
    connection.client.put_module(module)
    message = StartRun(
        run=RunId(id or new_id(workflow.name)),
        workflow=workflow.name,
        module=module.digest,
        place=here(folder),
        arguments=encoded,
        name=name,
        source=module.origin,
        **queued,
    )
    return connection.client.ask(started(message))
