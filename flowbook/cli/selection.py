"""Which runs ``flowbook runs`` lists: a predicate in SQL and labels, as conditions on the view ``runs``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flowbook.api.arguments import read_labels, read_value
from flowbook.errors import UserError

if TYPE_CHECKING:
    from flowbook.api.connection import Connection
    from flowbook.wire.calls import Summary


def conditions(where: str, labels: Iterable[str]) -> list[str]:
    """Conditions in SQL that a run must meet; none where nothing is asked for. Raises UserError."""
    wanted = [_has(name, text) for name, text in read_labels(labels).items()]
    # The line break ends a comment at the predicate's end.
    return [*wanted, f"(\n{where}\n)"] if where.strip() else wanted


def matching(connection: Connection, conditions: list[str], limit: int, status: str) -> list[Summary]:
    """The newest ``limit`` runs that meet all conditions, as they are now."""
    if status:
        conditions = [*conditions, f"status = {_quoted(status)}"]
    query = f"select id from runs where {' and '.join(conditions)} order by started desc, id desc"
    found = connection.client.sql(query, max(1, limit))["rows"]
    return [connection.client.run(str(row[0])) for row in found]


def _has(name: str, text: str) -> str:
    if '"' in name:
        raise UserError(f"'--attribute {name}={text}': a label's name has no quotation marks")
    value = read_value(text)
    # ``->>`` gives text as it is, and numbers and booleans as JSON writes them.
    written = value if isinstance(value, str) else json.dumps(value)
    return f"(attributes ->> {_quoted(_path(name))}) = {_quoted(written)}"


def _path(name: str) -> str:
    return f'$."{name}"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
