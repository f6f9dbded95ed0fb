"""Which names an expression, a function or a class uses from around it, and where they stand."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

import msgspec

BUILTINS = frozenset(dir(builtins)) | {"__name__", "__file__", "__doc__", "__builtins__", "display"}
_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Place(msgspec.Struct, frozen=True):
    """Where a name stands: line and column from 1."""

    line: int
    column: int
    end_column: int


def expression_names(text: str) -> list[str]:
    """Names an annotation's expression reads, in order of appearance. Raises SyntaxError."""
    found: list[str] = []
    for name, _ in free(ast.parse(text, mode="eval").body):
        if name not in found:
            found.append(name)
    return found


def place_of(node: ast.AST) -> Place:
    """Where a node stands, ending on its first line."""
    line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1
    end = getattr(node, "end_col_offset", column) + 1
    return Place(line, column, end if getattr(node, "end_lineno", line) == line else column + 1)


def free(node: ast.AST) -> Iterator[tuple[str, Place]]:
    """Names that ``node`` uses from around it."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        for eager in (*getattr(node, "decorator_list", []), *node.args.defaults, *filter(None, node.args.kw_defaults)):
            yield from free(eager)
        yield from free_of_function(node)
    elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        own = {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}
        outermost = node.generators[0].iter
        yield from free(outermost)
        for inner in _parts(node):
            if inner is not outermost:
                yield from ((name, place) for name, place in free(inner) if name not in own)
    elif isinstance(node, ast.ClassDef):
        own = {n.id for s in node.body for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        own |= {s.name for s in node.body if isinstance(s, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
        for child in ast.iter_child_nodes(node):
            yield from ((name, place) for name, place in free(child) if name not in own and name != node.name)
    elif isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Load):
            yield node.id, place_of(node)
    else:
        for child in ast.iter_child_nodes(node):
            yield from free(child)


def _parts(node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> list[ast.expr]:
    results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
    return [*(part for g in node.generators for part in (g.iter, *g.ifs)), *results]


def free_of_function(node: _Function) -> list[tuple[str, Place]]:
    """Names that a function's body uses from around it, whenever it runs."""
    body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else list(node.body)
    arguments = node.args
    own = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    own |= {a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None}
    own |= _locals(body)
    if not isinstance(node, ast.Lambda):
        own.add(node.name)
    return [(name, place) for part in body for name, place in free(part) if name not in own]


def _locals(body: list[ast.AST]) -> set[str]:
    """Names bound in a function's own scope."""
    found: set[str] = set()
    pending = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
            continue
        if isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
        pending.extend(ast.iter_child_nodes(node))
    return found
