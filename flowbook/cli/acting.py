"""``signal``, ``cancel`` and ``resume``: say something to a run."""

from __future__ import annotations

import json
from argparse import Namespace

from flowbook.api.connection import connect
from flowbook.cli import shapes


def signal(options: Namespace) -> int:
    """``flowbook signal``."""
    connection = connect()
    try:
        value = json.loads(options.value)
    except ValueError:
        value = options.value
    summary = connection.client.signal(options.run, options.name, connection.encode(value, options.name), options.id)
    if options.json:
        shapes.emit(shapes.run(summary, connection))
    else:
        print(f"signal '{options.name}' is recorded with {options.run} ({summary['status']})")
    return 0


def cancel(options: Namespace) -> int:
    """``flowbook cancel``."""
    connection = connect()
    outcome = connection.client.cancel(options.run, options.reason)["outcome"]
    if options.json:
        shapes.emit({"outcome": outcome, **shapes.run(connection.client.run(options.run), connection)})
    else:
        said = {"queued": "is asked to stop; what has an undo is undone first", "already done": "had ended already"}
        print(f"{options.run} {said.get(outcome, outcome)}")
    return 0


def resume(options: Namespace) -> int:
    """``flowbook resume``."""
    connection = connect()
    summary = connection.client.resume(options.run)
    if options.json:
        shapes.emit(shapes.run(summary, connection))
    else:
        print(f"{options.run} goes on ({summary['status']})")
    return 0
