"""Start a run of a compiled module: the one road by which every front door does it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbook.api.arguments import checked
from flowbook.api.connection import Connection, here, new_id
from flowbook.api.options import NO_OPTIONS, Options
from flowbook.client.queue_asks import started
from flowbook.core.ids import RunId
from flowbook.core.messages import StartRun
from flowbook.core.module import Module, Workflow
from flowbook.errors import UnknownModule

if TYPE_CHECKING:
    from flowbook.wire.calls import Summary


def start(
    connection: Connection,
    module: Module,
    workflow: Workflow,
    arguments: Mapping[str, Any],
    *,
    folder: Path | None = None,
    options: Options = NO_OPTIONS,
) -> Summary:
    """Store the module and start the run; when this returns, the run is on disk."""
    chosen = options.checked(connection.of(lambda: module))
    own = connection.of(lambda: module)
    encoded = {key: own.encode(value, key) for key, value in checked(workflow, arguments).items()}
    message = StartRun(
        run=RunId(options.id or new_id(workflow.name)),
        workflow=workflow.name,
        module=module.digest,
        place=here(folder),
        arguments=encoded,
        source=module.origin,
        **chosen,
    )
    client = connection.client
    client.put_module(module)
    try:
        return client.ask(started(message))
    except UnknownModule:
        # It was stored once and pruned since.
        client.forget_module(module.digest)
        client.put_module(module)
        return client.ask(started(message))
