"""The params cell: its assignments as the workflow's parameters."""

from __future__ import annotations

import ast

from flowbook.compiler.cells import Page, PageCell, is_literal
from flowbook.compiler.diagnostics import Diagnostic
from flowbook.compiler.scopes import place_of


def parameters(page: Page, findings: list[Diagnostic]) -> tuple[PageCell | None, list[tuple[str, str, str]]]:
    """The params cell and its parameters: name, annotation and default as source text."""
    cells = [cell for cell in page.cells if cell.part == "params"]
    for cell in cells[1:]:
        message = f"there is a params cell already, cell {cells[0].number}"
        findings.append(cell.at(None, "FB009", message, fix="put all parameters into one cell"))
    return (cells[0], _read(cells[0], findings)) if cells else (None, [])


def _read(cell: PageCell, findings: list[Diagnostic]) -> list[tuple[str, str, str]]:
    found: dict[str, tuple[str, str, str]] = {}
    for statement in cell.names.tree.body if cell.names else []:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        name, annotation, value = _assigned(statement)
        if value is None or not is_literal(value):
            fix = "write 'name = value' with a plain value, and compute from it in a step"
            message = "a params cell has only assignments of plain values, so that each can be given from outside"
            findings.append(cell.at(place_of(statement), "FB009", message, fix=fix))
        else:
            found[name] = (name, annotation or _kind(value), _text(value))
    return list(found.values())


def _assigned(statement: ast.stmt) -> tuple[str, str, ast.expr | None]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name, "", value
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
            return name, ast.unparse(annotation), value
        case _:
            return "", "", None


def _text(value: ast.expr) -> str:
    text = ast.unparse(value)
    plain = isinstance(value, ast.Constant) and isinstance(value.value, str) and '"' not in text and "\\" not in text
    return f'"{text[1:-1]}"' if plain else text


def _kind(value: ast.expr) -> str:
    """A parameter without an annotation has the type of its default."""
    kind = type(ast.literal_eval(value)).__name__
    return kind if kind in ("int", "float", "str", "bool") else ""
