"""Pieces of workflow code as the graph needs them: chains of calls, names that are read or bound, constants."""

from __future__ import annotations

import ast
from typing import Any


def chain(call: ast.expr) -> tuple[ast.expr, list[tuple[str, ast.Call]]]:
    """``a.b(x).c(y)`` as its root and its links, in order; a plain call ``a(x)`` has the link ``""``."""
    links: list[tuple[str, ast.Call]] = []
    current = call
    while isinstance(current, ast.Call):
        if isinstance(current.func, ast.Attribute):
            links.append((current.func.attr, current))
            current = current.func.value
        else:
            links.append(("", current))
            current = current.func
    return current, links[::-1]


def calls(value: ast.expr, method: str) -> list[ast.Call]:
    """Calls of ``.method(...)`` in the outermost chain."""
    return [call for name, call in chain(value)[1] if name == method] if isinstance(value, ast.Call) else []


def gathered(value: ast.expr, count: int) -> list[ast.expr]:
    """What ``await asyncio.gather(a(), b())`` awaits, where that is ``count`` things; else nothing."""
    call = value.value if isinstance(value, ast.Await) else value
    if not isinstance(call, ast.Call) or ast.unparse(call.func).rpartition(".")[2] != "gather":
        return []
    whole = len(call.args) == count and not any(isinstance(part, ast.Starred) for part in call.args)
    return call.args if whole else []


def stored(target: ast.expr) -> list[str]:
    """Names that an assignment target binds."""
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def loaded(value: ast.expr) -> set[str]:
    """Names that an expression reads."""
    return {node.id for node in ast.walk(value) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def names(values: list[Any]) -> list[str]:
    """Variables among arguments, in order."""
    found: list[str] = []
    for value in values:
        for node in ast.walk(value):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in found:
                found.append(node.id)
    return found


def lambda_text(call: ast.Call) -> str:
    """The expression of a call's first argument, a lambda."""
    first = call.args[0] if call.args else None
    return ast.unparse(first.body) if isinstance(first, ast.Lambda) else ast.unparse(first) if first else ""


def first(call: ast.Call) -> str:
    """A call's first argument as text."""
    first = call.args[0] if call.args else None
    return str(first.value) if isinstance(first, ast.Constant) else ast.unparse(first) if first else ""


def constants(call: ast.Call) -> dict[str, Any]:
    """A call's keyword arguments that are constants."""
    return {k.arg: k.value.value for k in call.keywords if k.arg and isinstance(k.value, ast.Constant)}
