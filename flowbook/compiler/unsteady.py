"""Calls in workflow code that give something else each time it is re-executed and that no worker can make durable.

Plain ``time``, ``random`` and ``uuid`` are durable there (see ``worker.clocks``); classes written in C cannot be.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_NOW = "write 'now()' (from flowbook import now), the time of the run in UTC"
_CALLS = {
    "datetime.datetime.now": _NOW,
    "datetime.datetime.utcnow": _NOW,
    "datetime.datetime.today": _NOW,
    "datetime.date.today": "write 'now().date()' (from flowbook import now)",
    "pandas.Timestamp.now": "write 'pd.Timestamp(now())' (from flowbook import now)",
    "pandas.Timestamp.today": "write 'pd.Timestamp(now())' (from flowbook import now)",
    "pandas.Timestamp.utcnow": "write 'pd.Timestamp(now())' (from flowbook import now)",
}
_DRAWS = "numpy.random."
_SEEDED = ("default_rng", "RandomState", "SeedSequence", "PCG64", "Generator")
_DRAW = "draw it in a step, or give it a seed: numpy.random.default_rng(42)"


class Unsteady(NamedTuple):
    """One such call: what it is, in words, and what to do instead."""

    call: ast.Call
    name: str
    instead: str


def imports(tree: ast.Module | None) -> dict[str, str]:
    """What the top level of a module calls what it imports: the local name, and the full one."""
    found = {}
    for statement in tree.body if tree is not None else ():
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                top = alias.name.partition(".")[0]
                found[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(statement, ast.ImportFrom) and not statement.level:
            for alias in statement.names:
                found[alias.asname or alias.name] = f"{statement.module}.{alias.name}"
    return found


def unsteady(nodes: Iterable[ast.AST], names: Mapping[str, str]) -> list[Unsteady]:
    """The calls in these pieces of code."""
    found = []
    for node in nodes:
        for call in ast.walk(node):
            if isinstance(call, ast.Call):
                full = _full(call.func, names)
                instead = _CALLS.get(full) or _draw(full, call)
                if instead:
                    found.append(Unsteady(call, f"{ast.unparse(call.func)}()", instead))
    return found


def _draw(full: str, call: ast.Call) -> str:
    if not full.startswith(_DRAWS):
        return ""
    seeded = full.removeprefix(_DRAWS).partition(".")[0] in _SEEDED and (call.args or call.keywords)
    return "" if seeded else _DRAW


def _full(function: ast.expr, names: Mapping[str, str]) -> str:
    """The dotted name of what is called, as its module calls it."""
    parts: list[str] = []
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    if not isinstance(function, ast.Name) or function.id not in names:
        return ""
    return ".".join([names[function.id], *reversed(parts)])
