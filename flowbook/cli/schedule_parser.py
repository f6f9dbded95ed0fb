"""``flowbook schedule``: its commands, flags and help. What they do is in ``schedules``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

from flowbook.cli import helping

Make = Callable[..., argparse.ArgumentParser]

OVERLAPS = ("skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all")
"""As in ``core.schedule``, which would take its time to import."""


def add(commands: Any, command: Make) -> None:
    """Add the command and those below it; ``command`` makes one, with its help and examples."""
    parser = command(
        commands,
        "schedule",
        "schedules",
        "have workflows started at certain times",
        'flowbook schedule set nightly report.ipynb --cron "0 3 * * *" --timezone Europe/Oslo',
        "flowbook schedule list",
        "flowbook schedule show nightly",
        about="The engine stays while a schedule is active; what it missed while it was stopped it makes up for.",
        json=False,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name, make in _ACTIONS.items():
        make(partial(_action, command, actions, name))


def _action(command: Make, actions: Any, name: str, *texts: str, **more: Any) -> argparse.ArgumentParser:
    return command(actions, name, "schedules", *texts, function=f"{name}_schedule", **more)


def _set(command: Make) -> None:
    parser = command(
        "make a schedule, or replace the one of that name",
        'flowbook schedule set nightly report.ipynb --cron "0 3 * * *" --timezone Europe/Oslo -p region=eu',
        "flowbook schedule set poll sync.py:pull --every 10m --jitter 30s --overlap skip",
        "flowbook schedule set daily load.py --cron @daily --time-parameter day --start 2026-12-01",
        about="The code is taken as it is now; set it again after a change. Without --cron and --every the notebook's "
        "schedule annotation counts.",
    )
    _name(parser)
    parser.add_argument(
        "file", metavar="FILE[:NAME]", help="a notebook (.ipynb) or Python file (.py); :NAME picks a workflow"
    )
    parser.add_argument(
        "--cron",
        action="append",
        default=[],
        metavar="EXPR",
        help="minute, hour, day, month, weekday; or @hourly, @daily, @weekly, @monthly, @yearly; may be repeated",
    )
    parser.add_argument(
        "--every", default=0, metavar="TIME", help="an interval such as 10m or 1d, counted from 1970 in UTC"
    )
    parser.add_argument("--offset", default=0, metavar="TIME", help="with --every: so much later")
    parser.add_argument("--timezone", default="UTC", metavar="ZONE", help="where --cron is read (default: UTC)")
    parser.add_argument("--jitter", default=0, metavar="TIME", help="start each run up to so much later")
    parser.add_argument("--start", metavar="WHEN", help="no times before this")
    parser.add_argument("--end", metavar="WHEN", help="no times after this")
    parser.add_argument("--overlap", choices=OVERLAPS, default="skip", help="when a run is still open (default: skip)")
    parser.add_argument(
        "--catch-up", default="365d", metavar="TIME", help="how late a missed time still counts (default: 365d)"
    )
    parser.add_argument("--pause-on-failure", action="store_true", help="a run that fails pauses the schedule")
    parser.add_argument("--limit", type=helping.count(1), default=0, metavar="N", help="start so many runs and no more")
    parser.add_argument(
        "--time-parameter", default="", metavar="k", help="the parameter that is given the nominal time"
    )
    parser.add_argument("--timeout", metavar="TIME", help="how long each run may take")
    parser.add_argument(
        "-p",
        "--param",
        action="append",
        default=[],
        metavar="k=v",
        help="a parameter; JSON where it is JSON, else text",
    )


def _list(command: Make) -> None:
    command("list this project's schedules", "flowbook schedule list", "flowbook schedule list --json")


def _show(command: Make) -> None:
    parser = command(
        "show a schedule: its next times and last runs",
        "flowbook schedule show nightly",
        "flowbook schedule show nightly --next 20",
    )
    _name(parser)
    parser.add_argument(
        "--next", type=helping.count(1), default=5, metavar="N", help="how many times to come (default: 5)"
    )


def _pause(command: Make) -> None:
    parser = command("let times pass until it is resumed", "flowbook schedule pause nightly --reason holiday")
    _name(parser)
    parser.add_argument("--reason", default="", help="shown with the schedule")


def _resume(command: Make) -> None:
    about = "Times that came in the pause are not made up for; backfill does that."
    _name(command("end a pause", "flowbook schedule resume nightly", about=about))


def _trigger(command: Make) -> None:
    parser = command(
        "start it now, paused or not",
        "flowbook schedule trigger nightly",
        "flowbook schedule trigger nightly --overlap allow_all",
    )
    _name(parser)
    _overlap(parser)


def _backfill(command: Make) -> None:
    parser = command(
        "carry out times of the past",
        "flowbook schedule backfill nightly --from 2026-11-01 --to 2026-11-07",
        "flowbook schedule backfill nightly --from 2026-11-01T00:00 --to 2026-11-01T12:00 --overlap allow_all",
        about="One run after the other, unless the schedule's policy or --overlap is allow_all.",
    )
    _name(parser)
    parser.add_argument("--from", dest="start", required=True, metavar="WHEN", help="the first time, included")
    parser.add_argument(
        "--to", dest="end", required=True, metavar="WHEN", help="the last time, included; a date to its end"
    )
    _overlap(parser)


def _delete(command: Make) -> None:
    _name(command("do away with a schedule; its runs go on", "flowbook schedule delete nightly"))


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the schedule's name")


def _overlap(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overlap", choices=OVERLAPS, default="", help="instead of the schedule's policy")


_ACTIONS: dict[str, Callable[[Make], None]] = {
    "set": _set,
    "list": _list,
    "show": _show,
    "pause": _pause,
    "resume": _resume,
    "trigger": _trigger,
    "backfill": _backfill,
    "delete": _delete,
}
