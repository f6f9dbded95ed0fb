"""Which names a cell reads from elsewhere, binds for others, and changes in place: from its syntax tree alone.

Reads are in order: a name bound earlier in the cell is not read. Function bodies are late-bound: what they use is
read by the cell that defines them unless the cell has bound it by then.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable

import msgspec

from flowbook.compiler.scopes import BUILTINS, Place, free, free_of_function, place_of

_MUTATORS = {
    *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "update", "setdefault", "popitem"),
    *("add", "discard", "appendleft", "extendleft", "popleft", "rotate"),
    *("intersection_update", "difference_update", "symmetric_difference_update"),
}

_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Refused(msgspec.Struct, frozen=True):
    """A construct that cannot be in a step, and why."""

    place: Place
    what: str


class Names(msgspec.Struct):
    """What a cell does with names. ``tree`` is its syntax tree.

    ``may_read`` is bound on some ways through the cell only, or is a name that Python has, so an earlier definition
    counts where there is one; ``unsure`` are the writes that some way through the cell leaves out; ``private`` is bound
    for the cell alone; ``imports`` and ``definitions`` say which names are modules, functions and classes; ``shows``
    holds "display" where the cell uses it.
    """

    tree: ast.Module
    reads: dict[str, Place] = {}
    may_read: dict[str, Place] = {}
    writes: dict[str, Place] = {}
    unsure: set[str] = set()
    private: set[str] = set()
    imports: set[str] = set()
    definitions: set[str] = set()
    mutates: dict[str, Place] = {}
    refused: list[Refused] = []
    shows: set[str] = set()
    awaits: bool = False


def names(source: str) -> Names:
    """Analyse a cell's code. Raises SyntaxError (ValueError for a null byte)."""
    tree = parsed(source, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    found = Names(tree)
    walker = _Walker(found)
    walker.block(tree.body)
    walker.finish()
    return found


def parsed(source: str, flags: int = 0) -> ast.Module:
    """The syntax tree. A second pass of the compiler finds what is grammatical and wrong, such as a bare ``return``.

    Raises SyntaxError (ValueError for a null byte).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = compile(source, "<cell>", "exec", ast.PyCF_ONLY_AST | flags, dont_inherit=True)
            compile(source, "<cell>", "exec", flags, dont_inherit=True)
    except (RecursionError, MemoryError):
        raise SyntaxError("it is nested too deeply", ("<cell>", 1, 1, "")) from None
    assert isinstance(tree, ast.Module)
    return tree


class _Walker(ast.NodeVisitor):
    """Visits the top level of a cell in the order it would run.

    ``bound`` is what has been bound so far on some way, ``sure`` on every way.
    """

    def __init__(self, found: Names) -> None:
        self.found = found
        self.bound: set[str] = set()
        self.sure: set[str] = set()
        self.breaks: list[list[set[str]]] = []
        self.late: list[tuple[str, Place]] = []

    def finish(self) -> None:
        """What functions use is read unless the cell binds it; one called before that sees an earlier definition."""
        for name, place in self.late:
            self._read(name, place, late=True)
        self.found.unsure = set(self.found.writes) - self.sure
        for name, place in self.found.writes.items():
            if name in self.found.unsure and name not in self.found.reads:
                self.found.may_read.setdefault(name, place)

    def block(self, statements: Iterable[ast.stmt]) -> None:
        """Statements one after the other."""
        for statement in statements:
            self.visit(statement)

    def ways(self, *ways: Iterable[ast.stmt]) -> None:
        """Blocks of which one runs: sure is what all of them bind."""
        before, after = set(self.sure), []
        for statements in map(list, ways):
            self.sure = set(before)
            self.block(statements)
            after += [] if _leaves(statements) else [self.sure]
        self.sure = set.intersection(*after) if after else before

    def _read(self, name: str, place: Place, late: bool = False) -> None:
        if name in self.sure and not late:
            return
        if name in self.bound or name in BUILTINS:
            self.found.may_read.setdefault(name, place)
        else:
            self.found.reads.setdefault(name, place)

    def _name(self, name: str, node: ast.AST, private: bool = False) -> None:
        self.bound.add(name)
        self.sure.add(name)
        if private or name.startswith("_"):
            self.found.private.add(name)
        else:
            self.found.writes.setdefault(name, place_of(node))

    def _bind(self, target: ast.AST, private: bool = False) -> None:
        for node in ast.walk(target):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self._name(node.id, node, private)

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

    def visit(self, node: ast.AST) -> None:
        """Visit a node, noting whether it calls ``display``, at whatever depth."""
        if isinstance(node, ast.stmt) and not self.found.shows:
            names_used = (inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))
            self.found.shows |= {"display"} & set(names_used)
        super().visit(node)

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
            if isinstance(target, ast.Name):
                self._read(target.id, place_of(target))
                self.sure.discard(target.id)
                self.found.writes.pop(target.id, None)
                self.found.private.add(target.id)
            else:
                self._changed(target)
                self.visit(target)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self.ways(node.body, node.orelse)

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._loop(node, endless=isinstance(node.test, ast.Constant) and bool(node.test.value))

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        before = set(self.sure)
        self._store(node.target, private=True)
        self._loop(node, before)

    def _loop(
        self, node: ast.For | ast.AsyncFor | ast.While, before: set[str] | None = None, endless: bool = False
    ) -> None:
        """The body may not run at all; a loop without an end is left where it breaks."""
        before = set(self.sure) if before is None else before
        self.breaks.append([])
        self.block(node.body)
        ends = self.breaks.pop()
        if not endless:
            self.sure = before
            self.block(node.orelse)
            ends.append(self.sure)
        self.sure = set.intersection(*ends) if ends else self.sure

    def visit_Break(self, node: ast.Break) -> None:
        if self.breaks:
            self.breaks[-1].append(set(self.sure))

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.found.awaits = True
        self.visit_For(node)

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self._store(item.optional_vars, private=True)
        self.block(node.body)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self.found.awaits = True
        self.visit_With(node)

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        before = set(self.sure)
        self.block([*node.body, *node.orelse])
        ends = [] if _leaves([*node.body, *node.orelse]) else [self.sure]
        for handler in node.handlers:
            self.sure = set(before)
            self.visit(handler)
            ends += [] if _leaves(handler.body) else [self.sure]
        self.sure = set.intersection(*ends) if ends else before
        self.block(node.finalbody)

    visit_TryStar = visit_Try

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.visit(node.type)
        if node.name:
            self._name(node.name, node, private=True)
        self.block(node.body)

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        before, ends = set(self.sure), []
        for case in node.cases:
            self.sure = set(before)
            for inner in ast.walk(case.pattern):
                name = getattr(inner, "rest" if isinstance(inner, ast.MatchMapping) else "name", None)
                if isinstance(name, str):
                    self._name(name, inner)
                elif isinstance(inner, ast.expr) and not isinstance(inner, ast.Constant):
                    self.visit(inner)
            if case.guard is not None:
                self.visit(case.guard)
            self.block(case.body)
            ends += [] if _leaves(case.body) else [self.sure]
        ends += [] if _catches_all(node.cases[-1]) else [before]
        self.sure = set.intersection(*ends) if ends else before

    def visit_Await(self, node: ast.Await) -> None:
        self.found.awaits = True
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.found.refused.append(Refused(place_of(node), "'import *' hides which names the cell defines"))
                continue
            name = alias.asname or alias.name.partition(".")[0]
            self._name(name, node)
            self.found.imports.add(name)

    visit_ImportFrom = visit_Import

    def visit_Global(self, node: ast.Global) -> None:
        self.found.refused.append(Refused(place_of(node), "'global' reaches outside the step"))

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for eager in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(eager)
        self._name(node.name, node)
        self.found.definitions.add(node.name)
        self.late += [(name, place) for name, place in free_of_function(node) if name not in self.sure]
        for inner in ast.walk(node):
            if isinstance(inner, ast.Global):
                self.visit_Global(inner)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for eager in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(eager)
        self.late += [(name, place) for name, place in free_of_function(node) if name not in self.sure]

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for name, place in free(node):
            self._read(name, place)
        self._name(node.name, node)
        self.found.definitions.add(node.name)

    def _visit_comprehension(self, node: _Comprehension) -> None:
        for inner in ast.walk(node):
            if isinstance(inner, ast.NamedExpr):
                self._bind(inner.target)
            if isinstance(inner, ast.Await) or (isinstance(inner, ast.comprehension) and inner.is_async):
                self.found.awaits = True
        for name, place in free(node):
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


def _catches_all(case: ast.match_case) -> bool:
    return isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None and case.guard is None


def _leaves(block: list[ast.stmt]) -> bool:
    """True for a block that ends by going elsewhere: what follows it is not reached from there."""
    return bool(block) and isinstance(block[-1], (ast.Raise, ast.Continue, ast.Break))
