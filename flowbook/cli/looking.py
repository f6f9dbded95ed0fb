"""``runs``, ``children``, ``show``, ``at`` and ``sql``: read what is recorded."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from flowbook.api.connection import Connection, connect
from flowbook.api.moment import Moment, Values, clip
from flowbook.api.started import Run
from flowbook.cli import selection, shapes, steps, terminal
from flowbook.client import many_asks
from flowbook.core.duration import spoken
from flowbook.core.printable import printable

if TYPE_CHECKING:
    from flowbook.wire.calls import Summary


def runs(options: Namespace) -> int:
    """``flowbook runs``."""
    connection = connect()
    conditions = selection.conditions(options.where, options.attribute)
    if conditions:
        asked = many_asks.runs(conditions, options.limit, options.status, options.timeout)
        found = connection.client.ask(asked)
    else:
        found = connection.client.runs(options.limit, options.status)
    is_narrowed = bool(conditions or options.status)
    return _list(found, connection, options, "no run matches" if is_narrowed else _NONE)


_NONE = "no runs yet; flowbook run FILE starts one"


def children(options: Namespace) -> int:
    """``flowbook children``."""
    connection = connect()
    found = [child.summary for child in Run(options.run, connection).children]
    return _list(found, connection, options, f"{options.run} has started no children")


def _list(found: list[Summary], connection: Connection, options: Namespace, none: str) -> int:
    if options.json:
        shapes.emit([shapes.run(summary, connection) for summary in found])
    elif not found:
        print(none)
    else:
        colour, now = terminal.has_colour(sys.stdout), terminal.now()
        rows = [_row(summary, now) for summary in found]
        print(table(("run", "status", "started", "took", "workflow", ""), rows, colour))
    return 0


def _row(summary: Summary, now: float) -> tuple[str, ...]:
    took = spoken(max(0.0, (summary["ended"] or now) - summary["started"]))
    note = ""
    if summary["error"] is not None:
        where = f"{summary['step']}: " if summary["step"] else ""
        note = clip(f"{where}{summary['error'].type}: {summary['error'].message}", 60)
    elif summary["reason"]:
        note = clip(summary["reason"], 60)
    elif summary["waits"]:
        note = "waits for " + ", ".join(w["name"] or w["kind"] for w in summary["waits"][:3])
    status = summary["status"]
    started = terminal.ago(summary["started"], now)
    return summary["id"], f"{steps.GLYPHS.get(status, '')} {status}", started, took, summary["workflow"], note


def table(head: tuple[str, ...], rows: list[tuple[str, ...]], colour: bool = False) -> str:
    """Columns as wide as they need to be; the second is a status."""
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=True)).rstrip()]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[1] = steps.painted(cells[1], row[1].rpartition(" ")[2], colour)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def show(options: Namespace) -> int:
    """``flowbook show``."""
    from flowbook.cli.running import ending

    connection = connect()
    summary = connection.client.run(options.run)
    view = connection.client.view(options.run)
    if options.json:
        children = [child.id for child in Run(options.run, connection).children]
        step_documents = {name: _step(step) for name, step in view["steps"].items()}
        shapes.emit({**shapes.run(summary, connection), "children": children, "steps": step_documents})
        return 0
    width, _ = terminal.size()
    print("\n".join(steps.lines(view, terminal.now(), width=width, colour=terminal.has_colour(sys.stdout))))
    if summary["origin"]:
        print(f"\nforked from {summary['origin']['run']} at event {summary['origin']['seq']}")
    if summary["status"] in ("running", "waiting", "queued"):
        print(_open(summary))
    else:
        print(f"\n{ending(summary, connection)}")
        if summary["obligations"]:
            print(f"what it still owes outside:  {terminal.typed('obligations')}")
    return 0


def _step(step: dict[str, Any]) -> dict[str, Any]:
    kept = ("status", "attempt", "started", "ended", "retry_at", "reason", "items", "error", "values")
    return {key: step[key] for key in kept if key in step}


def _open(summary: Summary) -> str:
    lines = [""]
    for wait in summary["waits"]:
        if wait["kind"] == "signal":
            command = terminal.typed("signal", summary["id"], wait["name"], "true")
            lines.append(f"waits for signal '{printable(wait['name'])}':  {command}")
    follow = terminal.typed("watch", summary["id"])
    lines.append(f"event {summary['seq']} is the last so far; follow it with  {follow}")
    return "\n".join(lines)


def at(options: Namespace) -> int:
    """``flowbook at``."""
    connection = connect()
    found = connection.client.at(options.run, options.event)
    if options.json:
        shapes.emit(shapes.moment(found, connection))
    else:
        print(Moment(options.run, found["event"], tuple(found["stack"]), Values(found["values"], connection)))
    return 0


def sql(options: Namespace) -> int:
    """``flowbook sql``."""
    from flowbook.api.rows import Rows

    answer = connect().client.sql(options.query, options.limit, options.timeout)
    if options.json:
        shapes.emit(answer)
    else:
        print(Rows(answer))
    return 0
