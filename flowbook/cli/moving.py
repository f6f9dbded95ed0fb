"""``move`` and ``check --open-runs``: open runs and edited code."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from flowbook.api import moving
from flowbook.api.connection import connect
from flowbook.cli import shapes, terminal
from flowbook.core.module import Module
from flowbook.errors import HistoryMismatch

FITS, DIFFERS = 0, 1


def move(options: Namespace) -> int:
    """``flowbook move``."""
    connection = connect()
    module = moving.stored(connection, options.file)
    fit = moving.check(connection, options.run, module)
    if fit and not options.dry_run:
        try:
            fit = moving.move(connection, options.run, module)
        except HistoryMismatch:
            # It went on while it was looked at.
            fit = moving.check(connection, options.run, module)
    moved = bool(fit) and not options.dry_run
    if options.json:
        shapes.emit({**document(fit), "moved": moved})
    else:
        print(fits([fit], module))
        if moved:
            print(f"\n{options.run} goes on with {options.file}")
    return FITS if fit else DIFFERS


def open_runs(module: Module) -> moving.Fits:
    """How the open runs of this module fit it."""
    return moving.check_runs(module)


def document(fit: moving.Fit) -> dict[str, Any]:
    """A fit as ``--json`` prints it."""
    return {
        "run": fit.run,
        "fit": fit.fit,
        "edited": list(fit.edited),
        "reason": fit.reason,
        "step": fit.step or None,
        "cell": fit.difference.get("cell"),
        "line": fit.difference.get("line"),
        "difference": fit.difference,
    }


def fits(found: list[moving.Fit], module: Module) -> str:
    """The table for people: run, colour, the first step that differs and where, and why."""
    from flowbook.cli.looking import table

    if not found:
        return "no open run came from this code"
    numbers = {cell.id: cell.number for cell in module.cells}
    rows: list[tuple[str, ...]] = [(fit.run, fit.fit, fit.step, _place(fit, numbers), _why(fit)) for fit in found]
    return table(("run", "fits", "step", "where", "why"), rows, terminal.has_colour(sys.stdout))


def _place(fit: moving.Fit, numbers: dict[Any, int]) -> str:
    cell, line = fit.difference.get("cell"), fit.difference.get("line")
    if not cell:
        return fit.place
    return f"cell {numbers.get(cell, cell)}, line {line}"


def _why(fit: moving.Fit) -> str:
    if fit.edited:
        return f"done already, edited since: {', '.join(fit.edited)}"
    return fit.reason.partition(" (at ")[0]
