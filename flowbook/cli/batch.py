"""The same said to many runs: ``cancel``, ``terminate``, ``resume`` and ``signal`` with ``--where SQL``."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowbook.api.connection import connect, new_mark
from flowbook.cli import shapes, terminal
from flowbook.cli.looking import table
from flowbook.client import many_asks
from flowbook.core.messages import CancelRun, ResumeRun, SendSignal, TerminateRun
from flowbook.errors import UserError
from flowbook.runtime.readings import read

if TYPE_CHECKING:
    from flowbook.wire.many import MatchedRun, ToldRun

AT_ONCE = 500
"""Runs that are told in one call: one turn of the engine, and one step of the progress shown."""


def cancel(options: Namespace) -> int:
    """``flowbook cancel --where``."""
    return _each(options, "cancel", CancelRun(options.reason))


def terminate(options: Namespace) -> int:
    """``flowbook terminate --where``."""
    return _each(options, "terminate", TerminateRun(options.reason, options.now))


def resume(options: Namespace) -> int:
    """``flowbook resume --where``."""
    return _each(options, "resume", ResumeRun())


def signal(options: Namespace) -> int:
    """``flowbook signal --where SQL NAME [JSON]``: there is no RUN, so what follows is one place to the left."""
    name, text = options.run, options.name
    if name is None or options.value != "null":
        raise UserError("with --where give the signal's name and value alone: flowbook signal --where SQL NAME JSON")
    value = connect().encode(read("null" if text is None else text), name)
    return _each(options, f"send signal '{name}' to", SendSignal(name, value, options.id or new_mark()))


def _each(options: Namespace, verb: str, message: CancelRun | TerminateRun | ResumeRun | SendSignal) -> int:
    """Find the runs, ask, tell them, and show what came of it; 1 when one refused."""
    paused = isinstance(message, ResumeRun)
    found = connect().client.ask(many_asks.match(options.where, paused, options.timeout))
    if not found:
        if options.json:
            shapes.emit([])
        else:
            print("no run matches")
        return 0
    if not options.yes:
        now = terminal.now()
        rows: list[tuple[str, ...]] = [
            (run["id"], run["status"], terminal.ago(run["started"], now), run["workflow"]) for run in found
        ]
        print(table(("run", "status", "started", "workflow"), rows), file=sys.stderr)
        if not terminal.agreed(f"{verb} {_counted(len(found))}?"):
            return 1
    told = _told(found, message)
    if options.json:
        shapes.emit(told)
    else:
        done: list[tuple[str, ...]] = [
            (run["id"], said["error"] or said["outcome"] or "", run["workflow"])
            for run, said in zip(found, told, strict=True)
        ]
        print(table(("run", "outcome", "workflow"), done, terminal.has_colour(sys.stdout)))
    return 1 if any(said["error"] for said in told) else 0


def _told(found: Sequence[MatchedRun], message: CancelRun | TerminateRun | ResumeRun | SendSignal) -> list[ToldRun]:
    client, ids = connect().client, [run["id"] for run in found]
    told: list[ToldRun] = []
    with terminal.Progress() as progress:
        for begin in range(0, len(ids), AT_ONCE):
            if begin:
                progress.say(f"{begin:,} of {len(ids):,} runs")
            answer = client.ask(many_asks.tell(ids[begin : begin + AT_ONCE], message))
            told += answer
    return told


def _counted(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
