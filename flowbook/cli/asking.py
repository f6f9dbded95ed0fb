"""``query`` and ``locals``: what runs have now."""

from __future__ import annotations

from argparse import Namespace

from flowbook.api.arguments import read_value
from flowbook.api.connection import Connection, connect
from flowbook.cli import shapes
from flowbook.wire.calls import HANDLERS


def query(options: Namespace) -> int:
    """``flowbook query``."""
    connection = connect()
    arguments = tuple(connection.encode(read_value(text), options.name) for text in options.arguments)
    value = connection.plain(connection.client.query(options.run, options.name, arguments))
    if options.json:
        shapes.emit({"run": options.run, "name": options.name, "value": value})
    else:
        shapes.say(value)
    return 0


def handled(connection: Connection, run: str) -> list[str] | None:
    """The updates the run's code handles now; None where its code has not begun, or has ended."""
    # What is asked is the last run of the id, which is the one that would get an update.
    summary = connection.client.wait(run, 0.0)
    if summary["status"] in ("queued", "paused") or summary["ended"] is not None:
        return None
    found = connection.plain(connection.client.query(run, HANDLERS))
    return list(found["updates"])


def variables(options: Namespace) -> int:
    """``flowbook locals``."""
    from flowbook.api.moment import Values

    connection = connect()
    found = connection.client.at(options.run, connection.client.run(options.run)["seq"])
    if options.json:
        shapes.emit(shapes.moment(found, connection))
    else:
        print(Values(found["values"], connection))
    return 0
