"""Which runs ``flowbook runs`` lists: a predicate in SQL and labels, as conditions on the view ``runs``."""

from __future__ import annotations

import json
from collections.abc import Iterable

from flowbook.api.arguments import read_labels, read_value
from flowbook.errors import UserError


def conditions(where: str | None, labels: Iterable[str]) -> list[str]:
    """Conditions in SQL that a run must meet; none where nothing is asked for. Raises UserError."""
    wanted = [_has(name, text) for name, text in read_labels(labels).items()]
    return wanted if where is None else [*wanted, where]


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
