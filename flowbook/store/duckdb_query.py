"""What people ask in SQL: one reading statement, its answer within bounds, and predicates that stay where they are put.

The open file is ``duckdb``'s; what an answer may cost besides its size is the engine's to say.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import duckdb
import msgspec

from flowbook.errors import UserError
from flowbook.store.base import Stop, Table

MOST_BYTES = 64 * 1024 * 1024
"""Of one answer, encoded. It is in memory as a whole, here and where it was asked for."""

_CHUNK = 256
_MIB = 1024 * 1024
_MOST_MEMORY = 2048 * _MIB
_READ_ONLY = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
_OPENING, _CLOSING = (b"(", b"[", b"{"), (b")", b"]", b"}")

_encode = msgspec.json.Encoder().encode


def limits() -> dict[str, str]:
    """What DuckDB may use, as its configuration says it: a query that asks for more fails, and nothing else does."""
    memory = _MOST_MEMORY
    with suppress(ValueError, OSError):
        memory = min(memory, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4)
    return {"memory_limit": f"{max(memory // _MIB, 256)}MiB", "max_temp_directory_size": f"{_MOST_MEMORY // _MIB}MiB"}


def answer(cursor: duckdb.DuckDBPyConnection, sql: str, limit: int, stop: Stop) -> Table:
    """Run one reading statement. Raises UserError for any other, and for an answer that is too large."""
    _require_reading(sql)
    cursor.execute("begin transaction read only")
    cursor.execute(sql)
    columns = [{"name": str(c[0]), "type": str(c[1])} for c in cursor.description or ()]
    rows: list[list[Any]] = []
    size = 0
    while len(rows) <= limit:
        if stop.why:
            raise ended(stop)
        part = cursor.fetchmany(min(_CHUNK, limit + 1 - len(rows)))
        if not part:
            break
        sendable = [_sendable(row) for row in part]
        size += len(_encode(sendable))
        if size > MOST_BYTES:
            raise UserError(
                f"the answer is larger than {MOST_BYTES // _MIB} MiB after {len(rows):,} rows. Ask for fewer columns "
                "or rows (limit), or for sums instead of all there is."
            )
        rows += sendable
    return Table(columns, rows[:limit], len(rows) > limit)


def ended(stop: Stop) -> UserError:
    """What to say of a query that did not come to its end."""
    return UserError(f"the query was ended: {stop.why}.")


def _sendable(value: Any) -> Any:
    """JSON has no word for what is no number or not finite; as text it is not lost."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list | tuple):
        return [_sendable(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _sendable(item) for name, item in value.items()}
    return value


def _require_reading(sql: str) -> None:
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1:
        raise UserError(f"one statement at a time, please: this text holds {len(statements)}.")
    kind = statements[0].type
    if kind == duckdb.StatementType.MULTI:
        raise UserError(
            "PIVOT has to say the values that become columns, so that it reads once and writes nothing: "
            "PIVOT t ON status IN ('failed', 'succeeded') USING count(*)."
        )
    if kind not in _READ_ONLY:
        raise UserError(
            f"{str(kind).rsplit('.', 1)[-1]} statements are not allowed: the history is read-only. "
            "Use SELECT, WITH, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN."
        )


def matching(conditions: Sequence[str]) -> str:
    """The query for runs that meet all conditions, the one started last first. Raises UserError."""
    met = " and ".join(f"(\n{_predicate(condition)}\n)" for condition in conditions)
    # The line breaks end a comment at a predicate's end.
    return f"select id from runs where {met} order by started desc, id desc"


def _predicate(text: str) -> str:
    """``text``, if it is one: not empty, and without a parenthesis that would end what is put around it."""
    depth, said, body = 0, False, text.encode()
    for at, kind in duckdb.tokenize(text):
        sign = body[at : at + 1]
        said = said or kind != duckdb.token_type.comment
        if kind == duckdb.token_type.operator:
            depth += (sign in _OPENING) - (sign in _CLOSING)
            if depth < 0 or sign == b";":
                raise UserError(f"the predicate {text.strip()!r} is more than one; its parentheses have to be paired.")
    if depth:
        raise UserError(f"the predicate {text.strip()!r} has a parenthesis that is not closed.")
    if not said:
        raise UserError("the predicate is empty. To mean every run write: true")
    return text
