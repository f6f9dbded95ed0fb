"""``history`` and ``prune``: show a run's events, move runs from project to project, delete old ones."""

from __future__ import annotations

import sys
from argparse import Namespace
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from flowbook.api import keeping
from flowbook.api.connection import connect
from flowbook.cli import shapes, terminal
from flowbook.cli.looking import table
from flowbook.core.duration import seconds_with_unit
from flowbook.core.printable import printable
from flowbook.core.sentences import describe
from flowbook.errors import UserError

if TYPE_CHECKING:
    from flowbook.wire.history import Pruned


def export(options: Namespace) -> int:
    """``flowbook history export``."""
    found = keeping.exported(connect(), options.run, options.output)
    if options.json:
        shapes.emit({**found, "file": options.output})
    else:
        print(f"{options.output}: {options.run} with {found['events']} events and {len(found['values'])} large values")
    return 0


def import_(options: Namespace) -> int:
    """``flowbook history import``."""
    connection = connect()
    summary = keeping.imported(connection, options.file, options.new_id)
    if options.json:
        shapes.emit(shapes.run(summary, connection))
    else:
        print(f"{summary['id']} is imported ({summary['status']}, {summary['seq']} events)")
        if summary["reason"]:
            print(summary["reason"])
    return 0


def show(options: Namespace) -> int:
    """``flowbook history show``. Printed as it is read, so that a long history takes no memory."""
    found = keeping.events(connect(), options.run, options.after)
    # What is wrong shows with the first page, before anything is printed.
    first = next(found, None)
    events = chain(() if first is None else (first,), found)
    if options.json:
        lines = (msgspec.json.encode(recorded).decode() for recorded in events)
        print("[", end="")
        for number, line in enumerate(lines):
            print(",\n " if number else "", line, sep="", end="")
        print("]")
        return 0
    for recorded in events:
        assert first is not None
        print(f"{recorded.seq:>6}  +{recorded.time - first.time:9.3f}s  {printable(describe(recorded.event))}")
    return 0


def prune(options: Namespace) -> int:
    """``flowbook prune``."""
    if not (options.older_than or options.status or options.keep_last) and options.where is None:
        raise UserError("say which runs: --older-than 30d, --status, --keep-last N or --where; --dry-run only looks.")
    meant: dict[str, Any] = {
        "older_than": None if options.older_than is None else _age(options.older_than),
        "status": options.status,
        "where": options.where,
        "keep_last": options.keep_last,
        "owing": options.owing,
        "timeout": options.timeout,
    }
    done = keeping.prune(**meant, dry_run=True) if options.dry_run or not options.yes else keeping.prune(**meant)
    if done["dry_run"] and not options.dry_run and done["runs"]:
        print(_told(done), file=sys.stderr)
        if not terminal.agreed("delete them?"):
            return 1
        done = keeping.prune(**meant)
    if options.json:
        shapes.emit(done)
    else:
        print(_told(done))
    return 0


def _age(text: str) -> float:
    """Seconds. What is deleted by a wrong unit does not come back."""
    try:
        return seconds_with_unit(text)
    except UserError as error:
        raise UserError(f"--older-than: {error}") from None


def _told(done: Pruned) -> str:
    rows: list[tuple[str, ...]] = [
        (run["id"], run["status"], run["workflow"], str(run["events"]), size(run["bytes"])) for run in done["runs"]
    ]
    lines = [table(("run", "status", "workflow", "events", "size"), rows)] if rows else []
    lines += [printable(f"{kept['id']} stays: {kept['reason']}") for kept in done["kept"]]
    verb = "would be deleted" if done["dry_run"] else "deleted"
    lines.append(
        f"{len(rows)} runs {verb}, {done['modules']} modules and {done['values']} value files; "
        f"{size(done['freed'])} {'would be ' if done['dry_run'] else ''}freed"
    )
    return "\n".join(lines)


def size(count: float) -> str:
    """Bytes as people write them."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
