"""Which names a cell reads from elsewhere, binds for others, and changes in place: from its syntax tree alone.

Reads are in order: a name bound earlier in the cell is not read. Function bodies are late-bound: what they use is
read by the cell that defines them unless the cell binds it anywhere.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

import msgspec

_BUILTINS = frozenset(dir(builtins)) | {"__name__", "__file__", "__doc__", "__builtins__", "display"}
_MUTATORS = {
    *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "update", "setdefault", "popitem"),
    *("add", "discard", "appendleft", "extendleft", "popleft", "rotate"),
    *("intersection_update", "difference_update", "symmetric_difference_update"),
}

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Place(msgspec.Struct, frozen=True):
    """Where a name stands: line and column from 1."""

    line: int
    column: int
    end_column: int


class Refused(msgspec.Struct, frozen=True):
    """A construct that cannot be in a step, and why."""

    place: Place
    what: str


class Names(msgspec.Struct):
    """What a cell does with names. ``tree`` is its syntax tree."""

    tree: ast.Module
    reads: dict[str, Place] = {}
    writes: dict[str, Place] = {}
    mutates: dict[str, Place] = {}
    refused: list[Refused] = []
    awaits: bool = False


def names(source: str) -> Names:
    """Analyse a cell's code. Raises SyntaxError."""
    tree = compile(source, "<cell>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    found = Names(tree, {}, {}, {}, [])
    walker = _Walker(found)
    for statement in tree.body:
        walker.visit(statement)
    walker.finish()
    return found


def expression_names(text: str) -> list[str]:
    """Names an annotation's expression reads, in order of appearance. Raises SyntaxError."""
    found: list[str] = []
    for name, _ in _free(ast.parse(text, mode="eval").body):
        if name not in found and name not in _BUILTINS:
            found.append(name)
    return found


def place_of(node: ast.AST) -> Place:
    """Where a node stands, ending on its first line."""
    line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1
    end = getattr(node, "end_col_offset", column) + 1
    return Place(line, column, end if getattr(node, "end_lineno", line) == line else column + 1)


class _Walker(ast.NodeVisitor):
    """Visits the top level of a cell in the order it would run."""

    def __init__(self, found: Names) -> None:
        self.found = found
        self.bound: set[str] = set()
        self.late: list[tuple[str, Place]] = []

    def finish(self) -> None:
        """What functions use is read unless the cell binds it anywhere."""
        for name, place in self.late:
            self._read(name, place)

    def _read(self, name: str, place: Place) -> None:
        if name not in self.bound and name not in _BUILTINS:
            self.found.reads.setdefault(name, place)

    def _bind(self, target: ast.AST, private: bool = False) -> None:
        for node in ast.walk(target):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.bound.add(node.id)
                if not private and not node.id.startswith("_"):
                    self.found.writes.setdefault(node.id, place_of(node))

    def _store(self, target: ast.expr, private: bool = False) -> None:
        """An assignment target: names are bound, items and attributes are changes to what holds them."""
        if isinstance(target, (ast.Tuple, ast.List)):
            for element in target.elts:
                self._store(element, private)
        elif isinstance(target, ast.Starred):
            self._store(target.value, private)
        elif isinstance(target, ast.Name):
            self._bind(target, private)
        else:
            self._changed(target)
            self.visit(target)

    def _changed(self, target: ast.expr) -> None:
        root: ast.expr = target
        while isinstance(root, (ast.Subscript, ast.Attribute)):
            root = root.value
        if isinstance(root, ast.Name):
            self.found.mutates.setdefault(root.id, place_of(root))

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._read(node.id, place_of(node))

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self._store(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.annotation)
        if node.value is not None:
            self.visit(node.value)
            self._store(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._read(node.target.id, place_of(node.target))
        self.visit(node.value)
        self._store(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._bind(node.target)

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if not isinstance(target, ast.Name):
                self._changed(target)
                self.visit(target)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._store(node.target, private=True)
        for statement in (*node.body, *node.orelse):
            self.visit(statement)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.found.awaits = True
        self.visit_For(node)

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self._store(item.optional_vars, private=True)
        for statement in node.body:
            self.visit(statement)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self.found.awaits = True
        self.visit_With(node)

    def visit_Await(self, node: ast.Await) -> None:
        self.found.awaits = True
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.visit(node.type)
        if node.name:
            self.bound.add(node.name)
        for statement in node.body:
            self.visit(statement)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.found.refused.append(Refused(place_of(node), "'import *' hides which names the cell defines"))
                continue
            name = alias.asname or alias.name.partition(".")[0]
            self.bound.add(name)
            if not name.startswith("_"):
                self.found.writes.setdefault(name, place_of(node))

    visit_ImportFrom = visit_Import

    def visit_Global(self, node: ast.Global) -> None:
        self.found.refused.append(Refused(place_of(node), "'global' reaches outside the step"))

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for eager in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(eager)
        self.bound.add(node.name)
        if not node.name.startswith("_"):
            self.found.writes.setdefault(node.name, place_of(node))
        self.late += _free_of_function(node)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Global):
                self.visit_Global(inner)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.late += _free_of_function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for name, place in _free(node):
            self._read(name, place)
        self.bound.add(node.name)
        if not node.name.startswith("_"):
            self.found.writes.setdefault(node.name, place_of(node))

    def _visit_comprehension(self, node: _Comprehension) -> None:
        for inner in ast.walk(node):
            if isinstance(inner, ast.NamedExpr):
                self._bind(inner.target)
        for name, place in _free(node):
            self._read(name, place)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            in_place = any(
                keyword.arg == "inplace" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                for keyword in node.keywords
            )
            if called.attr in _MUTATORS or in_place:
                self.found.mutates.setdefault(called.value.id, place_of(called.value))
        if isinstance(called, ast.Name) and called.id in ("exec", "eval", "input"):
            why = {"input": "nobody can answer 'input()' in a worker"}.get(called.id, f"'{called.id}' hides names")
            self.found.refused.append(Refused(place_of(node), why))
        self.generic_visit(node)


def _free(node: ast.AST) -> Iterator[tuple[str, Place]]:
    """Names that ``node`` uses from around it."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        yield from _free_of_function(node)
    elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        own = {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}
        for child in ast.iter_child_nodes(node):
            yield from ((name, place) for name, place in _free(child) if name not in own)
    elif isinstance(node, ast.ClassDef):
        own = {n.id for s in node.body for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        own |= {s.name for s in node.body if isinstance(s, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
        for child in ast.iter_child_nodes(node):
            yield from ((name, place) for name, place in _free(child) if name not in own and name != node.name)
    elif isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Load):
            yield node.id, place_of(node)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _free(child)


def _free_of_function(node: _Function) -> list[tuple[str, Place]]:
    body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else list(node.body)
    arguments = node.args
    own = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    own |= {a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None}
    own |= _locals(body)
    if not isinstance(node, ast.Lambda):
        own.add(node.name)
    return [(name, place) for part in body for name, place in _free(part) if name not in own]


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
