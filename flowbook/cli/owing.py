"""``flowbook obligations``: what runs owe outside, and what people do about it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from flowbook.api.moment import clip
from flowbook.cli import shapes, terminal
from flowbook.core.options import ENDINGS
from flowbook.core.printable import printable


def obligations(options: Namespace) -> int:
    """``flowbook obligations``."""
    from flowbook.api.outside import obligations as owed

    rows = owed()
    if options.json:
        shapes.emit(list(rows))
    elif not rows:
        print("no run owes anything outside")
    else:
        now = terminal.now()
        print("\n\n".join(_told(row, now) for row in rows))
        if any(row["failed"] or row["status"] in ENDINGS for row in rows):
            retry, settle = (terminal.typed("obligations", verb) for verb in ("retry", "settle"))
            print(f"\ntry again with  {retry} RUN KEY\nor see to it, and then  {settle} RUN KEY --note 'what you did'")
    return 0


def _told(row: Mapping[str, Any], now: float) -> str:
    """Everything that is known of one, a line for each kind of fact."""
    lines = [f"{row['run']} ({row['status']}) owes {row['what']} {row['name']}, {terminal.ago(row['since'], now)}"]
    lines.append(f"  key       {row['key']}")
    if row["step"]:
        lines.append(f"  began     {_call(row)}")
        lines.append(f"  returned  {_short(row['result']) if row['result'] is not None else 'not known'}")
    if row["undo"]:
        lines.append(f"  undo      {row['undo']}")
    if row["error_type"]:
        lines.append(f"  failed    {row['error_type']}: {_line(row['error_message'])}")
    if row["trying"]:
        lines.append(f"  retrying  {row['trying']}")
    return "\n".join(map(printable, lines))


def _call(row: Mapping[str, Any]) -> str:
    given = ", ".join(f"{name}={_short(value)}" for name, value in (row["arguments"] or {}).items())
    return f"{row['step']}({given})"


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def _short(value: Any) -> str:
    return clip(repr(value), 200)


def settle(options: Namespace) -> int:
    """``flowbook obligations settle``."""
    from flowbook.api.started import Run

    owed = Run(options.run).obligations.find(options.key)
    owed.settle(options.note)
    if options.json:
        shapes.emit(
            {"run": options.run, "key": owed.key, "name": owed.name, "outcome": "settled", "note": options.note}
        )
    else:
        print(f"{owed.what} {owed.name} of {options.run} is settled")
    return 0


def retry(options: Namespace) -> int:
    """``flowbook obligations retry``."""
    from flowbook.api.started import Run

    owed = Run(options.run).obligations.find(options.key)
    trying = owed.retry()
    if options.json:
        shapes.emit({"run": options.run, "key": owed.key, "name": owed.name, "trying": trying.id})
    else:
        print(f"{trying.id} tries to take back {owed.what} {owed.name} of {options.run}")
        print(f"follow it with  {terminal.typed('watch', trying.id)}")
    return 0
