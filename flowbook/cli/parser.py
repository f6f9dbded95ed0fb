"""Commands, their flags and their help with examples. No command's code is imported before it is chosen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from flowbook import __version__
from flowbook.cli import dealing_parser, helping, keeping_parser, queue_parser, schedule_parser
from flowbook.core.options import STATUSES

FORMATS = ("svg", "dot", "mermaid", "json")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; ``command`` is the function to call. Raises Mistake where they make no sense."""
    parser = build()
    options, extras = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    if extras:
        options.parser.unknown(extras)
    return options


def build() -> helping.Parser:
    """The whole parser."""
    parser = helping.Parser(
        prog="flowbook",
        description="Durable workflows from annotated notebooks and plain async Python.",
        epilog=helping.examples(
            "flowbook run analysis.ipynb -p since=2026-01-01",
            "flowbook runs",
            "flowbook lab",
        ),
        groups=helping.GROUPS,
    )
    parser.add_argument("--version", action="version", version=f"flowbook {__version__}")
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (_run, _runs, _show, _watch, _at, _signal, _cancel, _resume, _fork):
        add(commands)
    for add in (_check, _graph, _export, _sql, _engine, _lab):
        add(commands)
    dealing_parser.add(commands, _command)
    queue_parser.add(commands, _command)
    schedule_parser.add(commands, _command)
    keeping_parser.add(commands, _command)
    return parser


def _command(
    commands: Any,
    name: str,
    home: str,
    help: str,
    *examples: str,
    about: str = "",
    json: bool = True,
    function: str = "",
) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.{' ' + about if about else ''}",
        epilog=helping.examples(*examples),
    )
    made.set_defaults(command=_later(home, function or name), parser=made)
    if json:
        made.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    return made


def _later(home: str, name: str) -> Callable[[argparse.Namespace], int]:
    def call(options: argparse.Namespace) -> int:
        code: int = getattr(import_module(f"flowbook.cli.{home}"), name)(options)
        return code

    return call


def _file(parser: argparse.ArgumentParser, metavar: str = "FILE") -> None:
    parser.add_argument(
        "file", metavar=metavar, help="a notebook (.ipynb) or Python file (.py); :NAME picks a workflow"
    )


def _which(parser: argparse.ArgumentParser, optional: bool = False) -> None:
    parser.add_argument(
        "run", metavar="RUN", nargs="?" if optional else None, help="a run's id, as `flowbook runs` lists them"
    )


def _starts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--id", help="the new run's id; starting the same id again gives the same run")
    parser.add_argument("--detach", action="store_true", help="return at once; the run goes on in the background")


def _run(commands: Any) -> None:
    parser = _command(
        commands,
        "run",
        "running",
        "run a workflow durably and follow it",
        "flowbook run provision_vm.ipynb",
        'flowbook run report.py:weekly -p since=2026-01-01 -p cities=\'["Oslo", "Rome"]\'',
        "flowbook run nightly.ipynb --id nightly-2026-11-23 --detach",
        "flowbook run cart.py --id ada --on-closed allow --attribute customer=ada --timeout 2h",
        about="Ctrl-C stops following, not the run.",
    )
    _file(parser, "FILE[:NAME]")
    parser.add_argument(
        "-p",
        "--param",
        action="append",
        default=[],
        metavar="k=v",
        help="a parameter; JSON where it is JSON, else text",
    )
    _starts(parser)
    dealing_parser.start_options(parser)


def _runs(commands: Any) -> None:
    parser = _command(
        commands,
        "runs",
        "looking",
        "list this project's runs, newest first",
        "flowbook runs",
        "flowbook runs --status failed --limit 5",
        "flowbook runs --attribute customer=ada --where \"workflow = 'cart' and seconds > 60\"",
    )
    parser.add_argument("--limit", type=helping.count(1), default=20, metavar="N", help="how many (default: 20)")
    parser.add_argument("--status", default="", choices=STATUSES, help="those with this status")
    parser.add_argument("--where", metavar="SQL", help="those that match, a predicate over the view `runs`")
    parser.add_argument(
        "--attribute", action="append", default=[], metavar="k=v", help="those with this label (may be repeated)"
    )
    helping.timeout(parser, "--where")


def _show(commands: Any) -> None:
    parser = _command(
        commands,
        "show",
        "looking",
        "show a run: steps, result or error, what it waits for",
        "flowbook show checkout-4f1c2a9e",
    )
    _which(parser)


def _watch(commands: Any) -> None:
    parser = _command(
        commands,
        "watch",
        "running",
        "follow a run until it ends",
        "flowbook watch checkout-4f1c2a9e",
        about="Ctrl-C stops following, not the run.",
    )
    _which(parser)


def _at(commands: Any) -> None:
    parser = _command(
        commands,
        "at",
        "looking",
        "show where a run was at a past event: stack, variables, values",
        "flowbook at checkout-4f1c2a9e 17",
        about="Runs no step and changes nothing.",
    )
    _which(parser)
    parser.add_argument("event", metavar="N", type=int, help="the event's number in the run's history, from 1")


def _signal(commands: Any) -> None:
    parser = _command(
        commands,
        "signal",
        "acting",
        "send a signal to a run",
        "flowbook signal approval-9c0d2e11 approval true",
        'flowbook signal checkout-4f1c2a9e note \'{"by": "ada"}\' --id note-1',
        "flowbook signal --where \"workflow = 'approval'\" approval true",
    )
    _which(parser, optional=True)
    parser.add_argument("name", metavar="NAME", nargs="?", help="the signal's name")
    parser.add_argument(
        "value", metavar="JSON", nargs="?", default="null", help="its value; JSON where it is JSON, else text"
    )
    keeping_parser.many(parser)
    parser.add_argument("--id", default="", help="sending the same id twice sends it once")


def _cancel(commands: Any) -> None:
    parser = _command(
        commands,
        "cancel",
        "acting",
        "ask a run to stop; what has an undo is undone",
        "flowbook cancel checkout-4f1c2a9e --reason 'wrong region'",
        "flowbook cancel --where \"workflow = 'ping' and started < now() - interval 1 day\"",
    )
    _which(parser, optional=True)
    keeping_parser.many(parser)
    parser.add_argument("--reason", default="", help="recorded with the run")


def _resume(commands: Any) -> None:
    parser = _command(
        commands,
        "resume",
        "acting",
        "let a paused run go on",
        "flowbook resume checkout-4f1c2a9e",
        "flowbook resume --where \"workflow = 'report'\"",
    )
    _which(parser, optional=True)
    keeping_parser.many(parser)


def _fork(commands: Any) -> None:
    parser = _command(
        commands,
        "fork",
        "running",
        "start a new run from a past one, reusing what is unchanged",
        "flowbook fork report-77aa0c11 --step clean",
        "flowbook fork report-77aa0c11 --at 17 --plan",
        "flowbook fork report-77aa0c11 --step clean --file report_mended.ipynb",
        about="Says first which steps are reused, which run, and why.",
    )
    _which(parser)
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--at", type=int, metavar="N", help="reuse only results recorded up to this event")
    start.add_argument("--step", metavar="NAME", help="run this step again, with all that needs it")
    parser.add_argument("--file", help="the new code; by default the run's own file as it is now")
    parser.add_argument("--plan", action="store_true", help="only say what would happen")
    _starts(parser)


def _check(commands: Any) -> None:
    parser = _command(
        commands,
        "check",
        "files",
        "compile a file and report what is wrong with it",
        "flowbook check analysis.ipynb",
        "flowbook check report.py --open-runs",
        about="Exit code 2 when there are errors; with --open-runs 1 when an open run would not go on with it.",
    )
    _file(parser)
    parser.add_argument(
        "--open-runs", action="store_true", help="also say which open runs would go on with the file as it is now"
    )


def _graph(commands: Any) -> None:
    parser = _command(
        commands,
        "graph",
        "files",
        "print a workflow's step graph",
        "flowbook graph analysis.ipynb --format svg -o analysis.svg",
        "flowbook graph report.py:weekly --format mermaid",
        json=False,
    )
    _file(parser, "FILE[:NAME]")
    parser.add_argument("--format", choices=FORMATS, default="mermaid", help="default: mermaid")
    parser.add_argument("-o", "--output", metavar="OUT", default="-", help="a file; '-' (the default) prints it")


def _export(commands: Any) -> None:
    parser = _command(
        commands,
        "export",
        "files",
        "write a notebook's workflow as a Python module",
        "flowbook export analysis.ipynb -o analysis.py",
        "flowbook export analysis.ipynb -o - | less",
        about="The module is what runs; it needs no Jupyter.",
    )
    _file(parser)
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="the file to write; '-' prints it")
    parser.add_argument("--force", action="store_true", help="overwrite a file that Flowbook did not write")


def _sql(commands: Any) -> None:
    parser = _command(
        commands,
        "sql",
        "looking",
        "ask the history a question in SQL (read-only)",
        'flowbook sql "select workflow, status, count(*) from runs group by all"',
        "flowbook sql 'select * from events order by time desc' --limit 20",
    )
    parser.add_argument("query", metavar="QUERY", help="one SELECT statement; `show tables` lists what there is")
    parser.add_argument(
        "--limit", type=helping.count(1), default=1000, metavar="N", help="at most so many rows (default: 1000)"
    )
    helping.timeout(parser, "the query")


def _engine(commands: Any) -> None:
    parser = _command(
        commands,
        "engine",
        "processes",
        "start, stop or look at this project's engine",
        "flowbook engine status",
        "flowbook engine stop",
        "flowbook engine stop --grace 10m",
        about="It is started by whoever needs it first, and leaves when nobody has for a while. When it is stopped, "
        "running steps may end first, and the command returns when it has really left.",
    )
    parser.add_argument("action", choices=("start", "stop", "status"), help="what to do")
    parser.add_argument(
        "--grace", default="30s", metavar="TIME", help="with stop: how long running steps may take (default: 30s)"
    )
    parser.add_argument("--now", action="store_true", help="with stop: do not wait for running steps")


def _lab(commands: Any) -> None:
    parser = _command(
        commands,
        "lab",
        "processes",
        "open JupyterLab with Flowbook in this folder",
        "flowbook lab",
        "flowbook lab analysis.ipynb -- --no-browser",
        json=False,
    )
    parser.add_argument("file", nargs="?", help="a notebook to open")
    parser.add_argument("arguments", nargs="*", metavar="...", help="after '--': options for JupyterLab itself")
