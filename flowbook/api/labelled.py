"""Runs by their labels: what ``attributes={...}`` asks, as conditions on the view ``runs``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flowbook.core import options
from flowbook.errors import UserError


def conditions(attributes: Mapping[str, Any]) -> list[str]:
    """A condition in SQL for each label that a run must have. Raises UserError."""
    return [_has(name, value) for name, value in options.attributes(attributes).items()]


def _has(name: str, value: Any) -> str:
    if '"' in name:
        raise UserError(f"attribute '{name}' is no label to search by: a label's name has no quotation marks")
    # ``->>`` gives text as it is, and numbers and booleans as JSON writes them.
    written = value if isinstance(value, str) else json.dumps(value)
    path = f'$."{name}"'
    return f"(attributes ->> {_quoted(path)}) = {_quoted(written)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
