"""The answer to a query as Python values: times are times, columns have names of their own; shows as a table."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from flowbook.core.duration import spoken
from flowbook.core.printable import printable

if TYPE_CHECKING:
    from flowbook.wire.calls import Rows as Answer

LONGEST_CELL = 60


class Rows(list[dict[str, Any]]):
    """The rows of a query; shows as a table. ``more`` is true when the limit cut some off, ``types`` are SQL's."""

    def __init__(self, answer: Answer) -> None:
        self.columns = _distinct(column["name"] for column in answer["columns"])
        self.types = [column["type"] for column in answer["columns"]]
        self.more = answer.get("more", False)
        read = [_READ.get(kind.partition("(")[0]) for kind in self.types]
        super().__init__(
            {name: _value(cell, how) for name, cell, how in zip(self.columns, row, read, strict=True)}
            for row in answer["rows"]
        )

    def __repr__(self) -> str:
        head = [printable(name) for name in self.columns]
        texts = [head, *([_cell(value) for value in row.values()] for row in self)]
        widths = [max(len(row[i]) for row in texts) for i in range(len(self.columns))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in texts
        ]
        lines.insert(1, "  ".join("─" * width for width in widths))
        return "\n".join([*lines, *(["… and more; raise the limit to see them"] if self.more else [])])

    def frame(self) -> Any:
        """The same as a DataFrame; ``attrs["more"]`` is true where some were cut off. Raises ImportError."""
        import pandas

        columns = {
            name: _series(pandas, [row[name] for row in self], kind)
            for name, kind in zip(self.columns, self.types, strict=True)
        }
        made = pandas.DataFrame(columns)
        if self.more:
            made.attrs["more"] = True
        return made


def _distinct(names: Iterable[str]) -> list[str]:
    """Each name once: the second ``n`` is ``n_1``."""
    found: list[str] = []
    for name in names:
        number, made = 0, name
        while made in found:
            number += 1
            made = f"{name}_{number}"
        found.append(made)
    return found


_READ: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(
        ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"), datetime.fromisoformat
    ),
    "DATE": date.fromisoformat,
    "TIME": time.fromisoformat,
    "INTERVAL": lambda text: msgspec.convert(text, timedelta),
    "DECIMAL": Decimal,
    "BLOB": base64.b64decode,
    "DOUBLE": float,
    "FLOAT": float,
}
"""How what has no form in JSON is read again, by SQL's type."""


def _value(cell: Any, read: Callable[[Any], Any] | None) -> Any:
    if cell is None or read is None:
        return cell
    with suppress(ValueError, TypeError, ArithmeticError, msgspec.ValidationError):
        return read(cell)
    # What Python has no value for, a time before the year 1 for example, stays a text.
    return cell


_KINDS = {
    "TIMESTAMP": "datetime64[us]",
    "TIMESTAMP WITH TIME ZONE": "datetime64[us, UTC]",
    "DATE": "datetime64[us]",
    "INTERVAL": "timedelta64[us]",
    "DECIMAL": "float64",
}


def _series(pandas: Any, values: list[Any], kind: str) -> Any:
    wanted = _KINDS.get(kind.partition("(")[0])
    if wanted is not None:
        with suppress(ValueError, TypeError, OverflowError):
            return pandas.Series(values, dtype=wanted)
    return pandas.Series(values, dtype=None if values else "object")


def _cell(value: Any) -> str:
    text = printable(_text(value))
    return text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, timedelta):
        length = value.total_seconds()
        return spoken(length) if length >= 0 else f"-{spoken(-length)}"
    return str(value)
