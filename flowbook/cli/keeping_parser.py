"""Flags and help of what one does with histories, and with many runs at once. What they do: ``history``, ``batch``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from flowbook.cli import helping
from flowbook.core.options import ENDINGS

Make = Callable[..., argparse.ArgumentParser]


def add(commands: Any, command: Make) -> None:
    """Add the commands; ``command`` makes one, with its help and examples."""
    _history(commands, command)
    _prune(commands, command)


def many(parser: argparse.ArgumentParser) -> None:
    """Let a command speak to all runs that match, in place of RUN."""
    parser.add_argument("--where", metavar="SQL", help="speak to every run that matches, a predicate over `runs`")
    parser.add_argument("--yes", action="store_true", help="with --where: do not ask first")
    helping.timeout(parser, "--where")


def _history(commands: Any, command: Make) -> None:
    parser = command(
        commands,
        "history",
        "history",
        "show a run's events, write a run to a file, take one in",
        "flowbook history show report-77aa0c11",
        "flowbook history export report-77aa0c11 -o report.flow",
        "flowbook history import report.flow --as report-of-ada",
        json=False,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    shown = command(actions, "show", "history", "print a run's events", "flowbook history show report-77aa0c11")
    shown.add_argument("run", metavar="RUN", help="a run's id, as `flowbook runs` lists them")
    shown.add_argument("--after", type=helping.count(0), default=0, metavar="N", help="begin after event N")
    written = command(
        actions,
        "export",
        "history",
        "write a run to one file: its events, its code and its values",
        "flowbook history export report-77aa0c11 -o report.flow",
    )
    written.add_argument("run", metavar="RUN", help="a run's id, as `flowbook runs` lists them")
    written.add_argument("-o", "--output", metavar="FILE", required=True, help="the file to write, a new one")
    taken = command(
        actions,
        "import",
        "history",
        "take a run in from a file",
        "flowbook history import report.flow --as report-of-ada",
        about="An open run is paused until `flowbook resume`. Values may hold pickles: import only what you trust.",
        function="import_",
    )
    taken.add_argument("file", metavar="FILE", help="as `flowbook history export` wrote it")
    taken.add_argument("--as", dest="new_id", default="", metavar="ID", help="what to call the run here")


def _prune(commands: Any, command: Make) -> None:
    parser = command(
        commands,
        "prune",
        "history",
        "delete ended runs and what only they need",
        "flowbook prune --older-than 30d --keep-last 10 --dry-run",
        "flowbook prune --older-than 7d --status succeeded",
        "flowbook prune --where \"workflow = 'ping' and seconds < 1\"",
        about="Open runs are never deleted, nor what they were forked from, nor runs that still owe something outside. "
        "FLOWBOOK_RETENTION=30d does it regularly.",
    )
    parser.add_argument("--older-than", metavar="TIME", help="that ended so long ago: 12h, 30d")
    parser.add_argument("--status", default="", choices=ENDINGS, help="that ended so")
    parser.add_argument(
        "--keep-last", type=helping.count(0), default=0, metavar="N", help="keep the last N of each workflow"
    )
    parser.add_argument("--where", metavar="SQL", help="that match, a predicate over `runs`")
    parser.add_argument("--owing", action="store_true", help="also those that still owe something outside")
    helping.timeout(parser, "--where")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    parser.add_argument("--yes", action="store_true", help="do not ask first")
