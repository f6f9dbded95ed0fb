"""A cell's lines as the body of a function: indented, shown where a notebook would show, and otherwise untouched."""

from __future__ import annotations

import ast
import io
import textwrap
import tokenize

from flowbook.compiler.cells import PageCell

_WIDTH = 100


def body(cell: PageCell, display: str) -> tuple[list[str], bool]:
    """The cell's lines, indented, the last expression displayed; and whether Flowbook's ``display`` is needed.

    ``display`` is what the module calls it.
    """
    lines = cell.body.rstrip().split("\n")
    statements = cell.names.tree.body if cell.names else []
    if not statements:
        return [*(f"    {line}".rstrip() for line in lines), "    pass"], False
    last = statements[-1]
    behind = lines[(last.end_lineno or 1) - 1].encode()[last.end_col_offset or 0 :].decode().lstrip()
    displays = isinstance(last, ast.Expr) and _is_shown(last.value) and not behind.startswith(";")
    if isinstance(last, ast.Expr) and displays:
        lines = _wrapped(lines, last.value, display)
    own = display == "display" and cell.names is not None and "display" in cell.names.shows
    inside = _inside_strings("\n".join(lines))
    indented = [line if number in inside or not line.strip() else f"    {line}" for number, line in enumerate(lines, 1)]
    return indented, displays or own


def docstring(cell: PageCell) -> list[str]:
    """The first paragraph of the Markdown above, as lines; a string on top of the cell must not become one."""
    text = _prose(cell.prose) or (cell.step if _begins_with_text(cell) else "")
    return textwrap.indent(f'"""{text}"""', "    ").split("\n") if text else []


def _begins_with_text(cell: PageCell) -> bool:
    """A string on top of a cell would be the function's docstring."""
    first = cell.names.tree.body[0] if cell.names and cell.names.tree.body else None
    value = first.value if isinstance(first, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _prose(markdown: str) -> str:
    """The first paragraph of the Markdown above the cell, as a docstring."""
    paragraph = markdown.strip().split("\n\n")[0].strip()
    if not paragraph or paragraph.startswith("#"):
        return ""
    text = quotable(" ".join(paragraph.split()))
    return "\n".join(textwrap.wrap(text, _WIDTH))


def quotable(text: str) -> str:
    """Text that can stand between triple quotes."""
    text = text.replace("\\", "\\\\").replace('"""', "'''")
    return f"{text[:-1]}'" if text.endswith('"') else text


def _is_shown(value: ast.expr) -> bool:
    called = value.value if isinstance(value, ast.Await) else value
    if isinstance(called, ast.Call) and isinstance(called.func, ast.Name) and called.func.id in ("print", "display"):
        return False
    return not (isinstance(value, ast.Constant) and value.value in (None, ...))


def _wrapped(lines: list[str], value: ast.expr, display: str) -> list[str]:
    """The lines with ``display(...)`` around the expression; a bare tuple stays one thing."""
    opening, closing = (f"{display}((", "))") if isinstance(value, ast.Tuple) else (f"{display}(", ")")
    end, start = (value.end_lineno or value.lineno) - 1, value.lineno - 1
    changed = list(lines)
    tail = changed[end].encode()
    column = value.end_col_offset or 0
    changed[end] = (tail[:column] + closing.encode() + tail[column:]).decode()
    head = changed[start].encode()
    changed[start] = (head[: value.col_offset] + opening.encode() + head[value.col_offset :]).decode()
    return changed


def _inside_strings(source: str) -> set[int]:
    """Lines that begin inside a string, where indentation would change its value."""
    inside: set[int] = set()
    if not any(mark in source for mark in ('"""', "'''", "\\\n")):
        return inside
    opened: list[int] = []
    for token in tokenize.generate_tokens(io.StringIO(source + "\n").readline):
        kind = tokenize.tok_name[token.type]
        if kind == "STRING":
            inside |= set(range(token.start[0] + 1, token.end[0] + 1))
        elif kind.endswith("STRING_START"):
            opened.append(token.start[0])
        elif kind.endswith("STRING_END"):
            inside |= set(range(opened.pop() + 1, token.end[0] + 1))
    return inside
