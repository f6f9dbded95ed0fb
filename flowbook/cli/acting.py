"""``signal``, ``update``, ``cancel``, ``terminate``, ``resume``, ``complete`` and ``fail``: say something to a run."""

from __future__ import annotations

import difflib
from argparse import Namespace
from typing import TYPE_CHECKING

from flowbook.api.connection import connect
from flowbook.cli import shapes
from flowbook.cli.asking import handlers, taken
from flowbook.core.failure import Failure
from flowbook.errors import FlowbookError, UpdateFailed, UpdateRejected, UserError
from flowbook.runtime.readings import read

if TYPE_CHECKING:
    from flowbook.wire.calls import Summary


def signal(options: Namespace) -> int:
    """``flowbook signal``."""
    if options.where is not None:
        return _to_many(options, "signal")
    _require(options, ("run", "name"))
    connection = connect()
    try:
        known = handlers(connection, "signal", options)
    except UserError:
        raise
    except FlowbookError:
        # Its code cannot be asked now; a signal is recorded all the same.
        known = {}
    (value,) = taken(connection, options.name, [options.value], known)
    summary = connection.client.signal(options.run, options.name, value, options.id)
    if options.json:
        shapes.emit(shapes.run(summary, connection))
    else:
        print(f"signal '{options.name}' is recorded with {options.run} ({summary['status']})")
    return 0


def cancel(options: Namespace) -> int:
    """``flowbook cancel``."""
    if options.where is not None:
        return _to_many(options, "cancel")
    _require(options, ("run",))
    connection = connect()
    outcome = connection.client.cancel(options.run, options.reason)["outcome"]
    if options.json:
        shapes.emit({"outcome": outcome, **shapes.run(connection.client.run(options.run), connection)})
    else:
        said = {"queued": "is asked to stop; what has an undo is undone first", "already done": "had ended already"}
        print(f"{options.run} {said.get(outcome, outcome)}")
    return 0


def terminate(options: Namespace) -> int:
    """``flowbook terminate``."""
    if options.where is not None:
        return _to_many(options, "terminate")
    _require(options, ("run",))
    connection = connect()
    outcome = connection.client.terminate(options.run, options.reason, options.now)["outcome"]
    if options.json:
        shapes.emit({"outcome": outcome, **shapes.run(connection.client.run(options.run), connection)})
    else:
        said = {"queued": "is terminated once what it owes outside is taken back", "already done": "had ended already"}
        print(f"{options.run} {said.get(outcome, 'is terminated')}")
    return 0


def update(options: Namespace) -> int:
    """``flowbook update``."""
    from flowbook.api.updates import answer

    connection = connect()
    known = handlers(connection, "update", options)
    if known and options.name not in known["updates"]:
        hint = _nearest(options.name, known["updates"])
        raise UserError(f"run '{options.run}' handles no update '{options.name}'; {hint}")
    arguments = taken(connection, options.name, options.arguments, known)
    found = connection.client.update(options.run, options.name, arguments, None, options.id, not options.no_wait)
    try:
        value = None if options.no_wait else answer(connection, options.name, found)
    except UpdateRejected:
        raise
    except UpdateFailed as error:
        shapes.complain(error, json=options.json)
        return 1
    if options.json:
        shapes.emit({"run": found["run"], "id": found["id"], "status": found["status"], "value": value})
    elif options.no_wait:
        print(f"update '{options.name}' is recorded with {found['run']}")
    else:
        shapes.say(value)
    return 0


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}it handles: {', '.join(known) or 'none'}"


def complete(options: Namespace) -> int:
    """``flowbook complete``."""
    connection = connect()
    value = connection.encode(read(options.value), "value")
    return _completed(connection.client.complete(options.token, value), options, "is completed")


def fail(options: Namespace) -> int:
    """``flowbook fail``."""
    failure = Failure(type="CompletedOutside", message=options.message, retryable=not options.final)
    return _completed(connect().client.complete(options.token, failure=failure), options, "has failed")


def _completed(summary: Summary, options: Namespace, said: str) -> int:
    if options.json:
        shapes.emit(shapes.run(summary, connect()))
    else:
        print(f"it {said}; run {summary['id']} is {summary['status']}")
    return 0


def resume(options: Namespace) -> int:
    """``flowbook resume``."""
    if options.where is not None:
        return _to_many(options, "resume")
    _require(options, ("run",))
    connection = connect()
    summary = connection.client.resume(options.run)
    if options.json:
        shapes.emit(shapes.run(summary, connection))
    else:
        print(f"{options.run} goes on ({summary['status']})")
    return 0


def _to_many(options: Namespace, command: str) -> int:
    from flowbook.cli import batch

    if options.run is not None and command != "signal":
        raise UserError(f"give a run or --where, not both: run '{options.run}' and the runs where {options.where}")
    code: int = getattr(batch, command)(options)
    return code


def _require(options: Namespace, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(options, name) is None:
            raise UserError(f"{name.upper()} is missing; `flowbook runs` lists runs, --where SQL speaks to many.")
