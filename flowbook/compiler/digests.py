"""What a step's code is, apart from how it is written: a digest that layout, comments and annotations leave alone."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping

from flowbook.compiler.beside import imported
from flowbook.core.ids import Digest
from flowbook.core.syntax import written

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Digests:
    """Digests of the steps of one module; what several of them use is looked at once.

    ``beside`` has a mark for each module that is kept with it; ``package`` is the one that the module is in.
    """

    def __init__(self, module: ast.Module, beside: Mapping[str, str], package: str) -> None:
        self._beside = beside
        self._package = package
        self._definitions = _definitions(module)
        self._uses: dict[str, set[str]] = {}
        self._texts: dict[str, str] = {}

    def of(self, step: _Function) -> Digest:
        """Digest of a step's code and of the module-level code it uses, directly or not."""
        mark = hashlib.blake2b(_normalised(step).encode(), digest_size=12)
        used: set[str] = set()
        pending = _used(step)
        while pending:
            name = pending.pop()
            if name not in used and name in self._definitions:
                used.add(name)
                pending |= self._used_by(name) - used
        for name in sorted(used):
            mark.update(f"\0{name}\0{self._text(name)}".encode())
        return Digest(mark.hexdigest())

    def _used_by(self, name: str) -> set[str]:
        if name not in self._uses:
            self._uses[name] = {other for statement in self._definitions[name] for other in _used(statement)}
        return self._uses[name]

    def _text(self, name: str) -> str:
        if name not in self._texts:
            statements = self._definitions[name]
            found = _imported(statements, self._package)
            marks = [self._beside[module] for module in found if module in self._beside]
            self._texts[name] = " ".join([*(_normalised(statement, name) for statement in statements), *marks])
        return self._texts[name]


def _imported(statements: list[ast.stmt], package: str) -> list[str]:
    """The modules that these statements import from."""
    imports = ast.Module([s for s in statements if isinstance(s, ast.Import | ast.ImportFrom)], [])
    return sorted(imported(ast.unparse(imports), package))


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
        return written(node)
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    decorators = [written(decorator) for decorator in node.decorator_list] if name else []
    return f"{type(node).__name__}{decorators}{written(node.args)}{[written(statement) for statement in body]}"
