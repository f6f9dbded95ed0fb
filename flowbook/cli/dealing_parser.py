"""Flags and help of what one says to a run, asks it, or does about edited code. What they do: ``acting``, ``asking``,
``moving``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from flowbook.cli import keeping_parser

Make = Callable[..., argparse.ArgumentParser]

ON_CONFLICT = ("same", "use_existing", "fail", "terminate_existing")
ON_CLOSED = ("same", "reject", "allow", "allow_failed")
"""As in ``core.chains``, which would take its time to import."""


def start_options(parser: argparse.ArgumentParser) -> None:
    """What a run is started with besides its arguments."""
    parser.add_argument("--timeout", metavar="TIME", help="end the run as failed after this time: 90s, 30m, 2h")
    parser.add_argument("--on-conflict", default="same", choices=ON_CONFLICT, help="what an open run of --id means")
    parser.add_argument("--on-closed", default="same", choices=ON_CLOSED, help="what an ended run of --id means")
    parser.add_argument(
        "--attribute", action="append", default=[], metavar="k=v", help="a label to search runs by (may be repeated)"
    )
    parser.add_argument("--signal", default="", metavar="NAME=JSON", help="a signal that is delivered with the start")


def add(commands: Any, command: Make) -> None:
    """Add the commands; ``command`` makes one, with its help and examples."""
    for make in (_terminate, _update, _complete, _fail, _query, _locals, _children, _obligations, _move):
        make(commands, command)


def _terminate(commands: Any, command: Make) -> None:
    parser = command(
        commands,
        "terminate",
        "acting",
        "end a run without asking its code",
        "flowbook terminate checkout-4f1c2a9e --reason 'stuck for a week'",
        about="What it owes outside is taken back first; --now leaves it as it is, for `flowbook obligations`.",
    )
    parser.add_argument("run", metavar="RUN", nargs="?", help="a run's id, as `flowbook runs` lists them")
    keeping_parser.many(parser)
    parser.add_argument("--reason", default="", help="recorded with the run")
    parser.add_argument("--now", action="store_true", help="at once, even where the run owes something outside")


def _update(commands: Any, command: Make) -> None:
    parser = command(
        commands,
        "update",
        "acting",
        "have a run's update handler do something, and print what it gives",
        "flowbook update cart-9c0d2e11 add '\"apples\"' 3",
        "flowbook update cart-9c0d2e11 add pears --id add-pears-1 --no-wait",
        about="Exit code 1 when the handler fails, 2 when its validator rejects the update.",
    )
    _which(parser)
    _call(parser, "update")
    parser.add_argument("--id", default="", help="sending the same id twice does it once")
    parser.add_argument("--no-wait", action="store_true", help="return when it is recorded")


def _query(commands: Any, command: Make) -> None:
    parser = command(
        commands,
        "query",
        "asking",
        "ask a run's query handler",
        "flowbook query cart-9c0d2e11 content",
        about="Changes nothing; works for ended runs as well.",
    )
    _which(parser)
    _call(parser, "query")


def _locals(commands: Any, command: Make) -> None:
    parser = command(
        commands,
        "locals",
        "asking",
        "show the variables a run has now",
        "flowbook locals cart-9c0d2e11",
        function="variables",
    )
    _which(parser)


def _children(commands: Any, command: Make) -> None:
    parser = command(
        commands,
        "children",
        "looking",
        "list the runs that a run has started as its children, oldest first",
        "flowbook children orders-77aa0c11",
    )
    _which(parser)


def _complete(commands: Any, command: Make) -> None:
    parser = command(
        commands,
        "complete",
        "acting",
        "finish what a token stands for: a step, or something a run awaits",
        "flowbook complete WyJhcHByb3ZhbCIsIC4uLl0 '{\"approved\": true}'",
    )
    parser.add_argument("token", metavar="TOKEN", help="as the run gave it")
    parser.add_argument("value", metavar="JSON", nargs="?", default="null", help="JSON where it is JSON, else text")


def _fail(commands: Any, command: Make) -> None:
    parser = command(
        commands,
        "fail",
        "acting",
        "finish what a token stands for with a failure",
        "flowbook fail WyJhcHByb3ZhbCIsIC4uLl0 'the printer is on fire'",
        about="The step's retry policy decides what follows.",
    )
    parser.add_argument("token", metavar="TOKEN", help="as the run gave it")
    parser.add_argument("message", metavar="MESSAGE", help="what went wrong")
    parser.add_argument("--final", action="store_true", help="not to be tried again")


def _obligations(commands: Any, command: Make) -> None:
    parser = command(
        commands,
        "obligations",
        "owing",
        "list what runs owe outside: what is to be undone, and what could not be",
        "flowbook obligations",
        "flowbook obligations retry provision-4f1c2a9e create_vm",
        "flowbook obligations settle provision-4f1c2a9e create_vm --note 'deleted it in the console'",
        about="Those of ended runs are there as well: nobody will settle them but people.",
    )
    actions = parser.add_subparsers(metavar="ACTION")
    made = command(
        actions,
        "retry",
        "owing",
        "have a run of its own try again to take it back",
        "flowbook obligations retry provision-4f1c2a9e",
        "flowbook obligations retry provision-4f1c2a9e create_vm",
        about="It runs with the code that the run has, and settles the obligation when it succeeds.",
    )
    _which_obligation(made)
    made = command(
        actions,
        "settle",
        "owing",
        "say that nothing is owed any more, because you have seen to it",
        "flowbook obligations settle provision-4f1c2a9e --note 'deleted it in the console'",
        "flowbook obligations settle provision-4f1c2a9e create_vm --note 'it never was created'",
    )
    _which_obligation(made)
    made.add_argument("--note", required=True, help="what became of it; recorded with the run")


def _which_obligation(parser: argparse.ArgumentParser) -> None:
    _which(parser)
    text = "its key or its name, as `flowbook obligations` lists them; may be left out where there is one"
    parser.add_argument("key", metavar="KEY", nargs="?", default="", help=text)


def _move(commands: Any, command: Make) -> None:
    parser = command(
        commands,
        "move",
        "moving",
        "have an open run go on with other code, if that fits what it has done",
        "flowbook move report-77aa0c11 report.py --dry-run",
        "flowbook move report-77aa0c11 report.py",
        about="Exit code 1 when it does not fit.",
    )
    _which(parser)
    parser.add_argument("file", metavar="FILE", help="a notebook (.ipynb) or Python file (.py)")
    parser.add_argument("--dry-run", action="store_true", help="only say whether it fits")


def _which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's id, as `flowbook runs` lists them")


def _call(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("name", metavar="NAME", help=f"the {what}'s name")
    parser.add_argument("arguments", metavar="JSON", nargs="*", help="its arguments; JSON where it is JSON, else text")
