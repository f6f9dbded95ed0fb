"""Python code as text that is the same for the same code: whatever its layout, whichever version of Python reads it.

Identities are made of this (of call sites, of steps), so it may never change. What a piece of code means is not known
here, nor where it is run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_BODIES = frozenset({"body", "orelse", "finalbody", "handlers", "cases"})
_LAYOUT = frozenset({"ctx", "kind", "type_comment", "str"})
"""Fields that say how a node is written, or what its place says already."""

_Loop = ast.For | ast.AsyncFor
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Span(NamedTuple):
    """Where a piece of code stands, as the compiler records it for an instruction: lines from 1, columns in bytes."""

    line: int
    column: int
    end_line: int
    end_column: int


def written(node: object) -> str:
    """All that ``node`` says. ``ast.dump`` would do, were it the same in every version of Python."""
    if isinstance(node, ast.AST):
        # Without what is empty: new versions bring new fields, which older code leaves empty.
        said = [
            f"{name}={written(value)}"
            for name in node._fields
            if name not in _LAYOUT and (value := getattr(node, name, None)) is not None and value != []
        ]
        return f"{type(node).__name__}({', '.join(said)})"
    if isinstance(node, list):
        return f"[{', '.join(map(written, node))}]"
    # Which letters can be shown is another matter in each version of Unicode.
    return ascii(node)


def head(statement: ast.stmt) -> str:
    """All that a statement says but for the statements inside it."""
    said = {name: value for name, value in ast.iter_fields(statement) if name not in _BODIES}
    return written(type(statement)(**said))


def statement(tree: ast.Module, span: Span) -> str:
    """The innermost statement around ``span``: its head, where it has others inside; "" where there is none."""
    found = [node for node in _around(tree, span) if isinstance(node, ast.stmt)]
    return head(found[-1]) if found else ""


def expression(tree: ast.Module, span: Span) -> str:
    """The innermost expression around ``span``, or the statement; "" where there is none.

    What a ``with`` or a ``for`` does with its expression is the statement's doing. Python up to 3.11 says so too; later
    it is put down to the expression.
    """
    found = [node for node in _around(tree, span) if isinstance(node, ast.stmt | ast.expr)]
    if not found:
        return ""
    node, outer = found[-1], found[-2] if len(found) > 1 else None
    if outer is not None and node in _driven_by(outer):
        node = outer
    return head(node) if isinstance(node, ast.stmt) else written(node)


def scope(qualname: str) -> str:
    """The name of a function's code, where comprehensions are part of what is around them, as since Python 3.12."""
    for inlined in ("<listcomp>", "<setcomp>", "<dictcomp>"):
        qualname = qualname.replace(f".<locals>.{inlined}", "").replace(f".{inlined}", "").replace(inlined, "<module>")
    return qualname


def _driven_by(node: ast.AST) -> list[ast.expr]:
    """Expressions whose values ``node`` calls without saying so: to enter them, to get one after the other."""
    if isinstance(node, ast.With | ast.AsyncWith):
        return [item.context_expr for item in node.items]
    if isinstance(node, _Loop):
        return [node.iter]
    if isinstance(node, _Comprehension):
        return [part.iter for part in node.generators]
    return []


def _around(node: ast.AST, span: Span) -> Iterator[ast.AST]:
    """What is around ``span`` inside ``node``, outermost first."""
    inner = next((child for child in _parts(node) if _covers(child, span)), None)
    if inner is not None:
        yield inner
        yield from _around(inner, span)


def _covers(node: ast.AST, span: Span) -> bool:
    line: int | None = getattr(node, "lineno", None)
    if line is None:
        return any(_covers(child, span) for child in _parts(node))
    begin, end = (line, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)  # type: ignore[attr-defined]
    if begin <= span[:2] and span[2:] <= end:
        return True
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return any(_covers(decorator, span) for decorator in node.decorator_list)
    # What stands in an f-string of several lines is elsewhere, according to Python 3.11.
    return isinstance(node, ast.JoinedStr) and any(_covers(child, span) for child in _parts(node))


def _parts(node: ast.AST) -> Iterable[ast.AST]:
    """What a node is made of; of an f-string what is put in, for Python 3.11 has all else be where the whole is."""
    if not isinstance(node, ast.JoinedStr):
        return ast.iter_child_nodes(node)
    put_in = [part for part in node.values if isinstance(part, ast.FormattedValue)]
    return [expression for part in put_in for expression in (part.value, part.format_spec) if expression is not None]
