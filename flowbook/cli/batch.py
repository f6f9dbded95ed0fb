"""The same said to many runs: ``cancel``, ``terminate``, ``resume`` and ``signal`` with ``--where SQL``."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from flowbook.api.arguments import read_value
from flowbook.api.connection import Connection, connect, new_mark
from flowbook.cli import shapes, terminal
from flowbook.cli.looking import table
from flowbook.errors import FlowbookError, UserError

MOST = 100_000
"""Runs that one command speaks to."""

Say = Callable[[str], str]
"""Says it to one run and gives what came of it."""


def cancel(options: Namespace) -> int:
    """``flowbook cancel --where``."""
    client = connect().client
    return _each(options, "cancel", lambda run: client.cancel(run, options.reason)["outcome"])


def terminate(options: Namespace) -> int:
    """``flowbook terminate --where``."""
    client = connect().client
    return _each(options, "terminate", lambda run: client.terminate(run, options.reason, options.now)["outcome"])


def resume(options: Namespace) -> int:
    """``flowbook resume --where``."""
    client = connect().client
    return _each(options, "resume", lambda run: client.resume(run)["status"], "status = 'paused'")


def signal(options: Namespace) -> int:
    """``flowbook signal --where SQL NAME [JSON]``: there is no RUN, so what follows is one place to the left."""
    name, text = options.run, options.name
    if name is None or options.value != "null":
        raise UserError("with --where give the signal's name and value alone: flowbook signal --where SQL NAME JSON")
    connection = connect()
    value = connection.encode(read_value("null" if text is None else text), name)
    mark = options.id or new_mark()

    def say(run: str) -> str:
        connection.client.signal(run, name, value, mark)
        return "recorded"

    return _each(options, f"send signal '{name}' to", say)


def _each(options: Namespace, verb: str, say: Say, among: str = "ended is null") -> int:
    """Find the runs, ask, tell each, and show what came of it; 1 when one refused."""
    connection = connect()
    found = _matching(connection, options.where, among)
    if not found:
        if options.json:
            shapes.emit([])
        else:
            print("no run matches")
        return 0
    if not options.yes:
        rows: list[tuple[str, ...]] = [
            (run, status, str(started), workflow) for run, workflow, status, started in found
        ]
        print(table(("run", "status", "started", "workflow"), rows), file=sys.stderr)
        if not terminal.agreed(f"{verb} {_counted(len(found))}?"):
            return 1
    told = [_told(run[0], say) for run in found]
    if options.json:
        shapes.emit(told)
    else:
        done: list[tuple[str, ...]] = [
            (run[0], said["error"] or said["outcome"], run[1]) for run, said in zip(found, told, strict=True)
        ]
        print(table(("run", "outcome", "workflow"), done, terminal.has_colour(sys.stdout)))
    return 1 if any(said["error"] for said in told) else 0


def _matching(connection: Connection, where: str, among: str) -> list[list[Any]]:
    # The line break ends a comment at the predicate's end.
    query = f"select id, workflow, status, started from runs where {among} and (\n{where}\n) order by started, id"
    found = connection.client.sql(query, MOST)
    if found.get("more"):
        raise UserError(f"more than {MOST:,} runs match; narrow the predicate.")
    return found["rows"]


def _told(run: str, say: Say) -> dict[str, Any]:
    try:
        return {"run": run, "outcome": say(run), "error": None}
    except FlowbookError as error:
        return {"run": run, "outcome": None, "error": str(error)}


def _counted(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
