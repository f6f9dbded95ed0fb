"""What a step's code is, apart from how it is written: a digest that layout, comments and annotations leave alone."""

from __future__ import annotations

import ast
import hashlib

from flowbook.core.ids import Digest

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def step_digest(step: _Function, module: ast.Module) -> Digest:
    """Digest of a step's code and of the module-level code it uses, directly or not."""
    definitions = _definitions(module)
    mark = hashlib.blake2b(_normalised(step).encode(), digest_size=12)
    used: set[str] = set()
    pending = _used(step)
    while pending:
        name = pending.pop()
        if name not in used and name in definitions:
            used.add(name)
            pending |= {other for statement in definitions[name] for other in _used(statement)} - used
    for name in sorted(used):
        text = " ".join(_normalised(statement, name) for statement in definitions[name])
        mark.update(f"\0{name}\0{text}".encode())
    return Digest(mark.hexdigest())


def _definitions(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    """The statements that have to do with each module-level name: all that bind or change it."""
    found: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in _bound(statement):
            found.setdefault(name, []).append(statement)
    return found


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    found = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for node in ast.walk(statement):
        if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, ast.Store):
            found |= {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return found


def _used(node: ast.AST) -> set[str]:
    parts = [node]
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        parts = [node.args, *node.body]
    return {n.id for part in parts for n in ast.walk(part) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _normalised(node: ast.stmt, name: str = "") -> str:
    """The code without positions, decorators of ours and docstrings; of an import only what gives ``name``."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        source = f"{'.' * node.level}{node.module or ''}" if isinstance(node, ast.ImportFrom) else ""
        given = [a for a in node.names if name in ("", a.asname or a.name.partition(".")[0])]
        return f"import {source} {[(a.name, a.asname) for a in given]}"
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return ast.dump(node)
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    decorators = [ast.dump(decorator) for decorator in node.decorator_list] if name else []
    return f"{type(node).__name__}{decorators}{ast.dump(node.args)}{[ast.dump(statement) for statement in body]}"
