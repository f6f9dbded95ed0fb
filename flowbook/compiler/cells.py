"""Notebook JSON to cells with a part to play: params, shared, step or scratch. One cell at a time, no dataflow."""

from __future__ import annotations

import ast
import keyword
import re
from typing import Any, Literal

import msgspec

from flowbook.compiler.annotations import Annotations, Option, read_annotations
from flowbook.compiler.diagnostics import Diagnostic
from flowbook.compiler.names import Names, Place, names
from flowbook.core.ids import CellId

Part = Literal["params", "shared", "step", "scratch"]

_STEP_KEYS = ("step", "label", "map", "when", "wait", "undo", "retries", "backoff", "timeout", "needs", "concurrency")


class PageCell(msgspec.Struct):
    """A code cell. ``body`` is its source without the annotation lines; ``prose`` the Markdown directly above."""

    id: CellId
    number: int
    source: str
    body: str
    annotations: Annotations
    part: Part
    step: str = ""
    names: Names | None = None
    prose: str = ""

    @property
    def offset(self) -> int:
        """Lines before the body."""
        return self.annotations.lines

    def reads(self) -> list[str]:
        """Names the step takes: inferred, or as annotated."""
        inferred = list(self.names.reads) if self.names else []
        return _merged(inferred, self.annotations.names("reads"))

    def writes(self) -> list[str]:
        """Names the step gives: inferred, or as annotated."""
        inferred = list(self.names.writes) if self.names else []
        return _merged(inferred, self.annotations.names("writes"))

    def at(self, place: Place | Option | None, code: str, message: str, **more: Any) -> Diagnostic:
        """A finding in this cell; ``place`` is in its body, or an option's."""
        line, column, end = 1, 1, 1
        if isinstance(place, Option):
            line, column, end = place.line, place.column, place.column + max(1, len(place.text))
        elif place is not None:
            line, column, end = place.line + self.offset, place.column, place.end_column
        return Diagnostic(
            code,
            message,
            cell=self.id,
            cell_number=self.number,
            step=self.step,
            line=line,
            column=column,
            end_column=end,
            **more,
        )


def _merged(inferred: list[str], annotated: list[str]) -> list[str]:
    return inferred + [name for name in annotated if name not in inferred]


class Page(msgspec.Struct):
    """The cells of a notebook that have code, and what its Markdown says first."""

    cells: list[PageCell]
    title: str = ""
    workflow: str = ""
    diagnostics: list[Diagnostic] = []


def page(notebook: Any) -> Page:
    """Read a notebook's JSON. What is wrong with it becomes diagnostics."""
    raw = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(raw, list):
        what = "this is not a notebook: it has no list of cells"
        return Page([], diagnostics=[Diagnostic("FB004", what, fix="save it again from Jupyter, as format 4")])
    found = Page([], diagnostics=[])
    prose = ""
    for number, cell in enumerate(raw, 1):
        source = _source(cell)
        if source is None:
            found.diagnostics.append(
                Diagnostic("FB004", "this cell has no readable source", cell_number=number, fix="delete the cell")
            )
        elif cell.get("cell_type") == "markdown":
            prose = source
            found.title = found.title or _title(source)
        elif cell.get("cell_type") == "code" and source.strip():
            tags = cell.get("metadata", {}).get("tags", []) if isinstance(cell.get("metadata"), dict) else []
            made = _cell(str(cell.get("id") or f"cell-{number}"), number, source, tags, prose, found.diagnostics)
            found.cells.append(made)
            found.workflow = found.workflow or (made.annotations.text("workflow") or "")
            prose = ""
    _unique(found)
    return found


def _source(cell: Any) -> str | None:
    source = cell.get("source") if isinstance(cell, dict) else None
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        return "".join(source)
    return source if isinstance(source, str) else None


def _title(markdown: str) -> str:
    heading = re.search(r"^#+\s+(.+)$", markdown, re.MULTILINE)
    return heading.group(1).strip() if heading else ""


def _cell(id: str, number: int, source: str, tags: Any, prose: str, findings: list[Diagnostic]) -> PageCell:
    head = read_annotations(source, id, number)
    findings += head.diagnostics
    body = "".join(source.splitlines(keepends=True)[head.lines :])
    cell = PageCell(CellId(id), number, source, body, head, "scratch", prose=prose)
    annotated = any(key in head.options for key in _STEP_KEYS) or any(key.startswith("loop") for key in head.options)
    if "params" in head.options or "parameters" in (tags or []):
        cell.part = "params"
    elif "shared" in head.options:
        cell.part = "shared"
    elif annotated:
        cell.part = "step"
    try:
        cell.names = names(body)
    except (SyntaxError, ValueError) as error:
        if cell.part != "scratch":
            findings.append(_broken(cell, error))
        return cell
    if cell.part == "scratch" and _is_shared(cell.names.tree):
        cell.part = "shared"
    if cell.part == "step":
        cell.step = _step_name(cell)
        findings += [
            cell.at(refused.place, "FB005", f"{refused.what}; a step cannot have it") for refused in cell.names.refused
        ]
    return cell


def _broken(cell: PageCell, error: SyntaxError | ValueError) -> Diagnostic:
    line = getattr(error, "lineno", None) or 1
    column = getattr(error, "offset", None) or 1
    text = cell.body.splitlines()[line - 1] if line <= len(cell.body.splitlines()) else ""
    place = Place(line, column, column + 1)
    if text.lstrip().startswith(("%", "!")):
        fix = "move magics and shell lines to a cell without annotations"
        return cell.at(place, "FB005", "IPython's magics and shell lines cannot be in a step", fix=fix)
    return cell.at(place, "FB006", f"this is not Python: {getattr(error, 'msg', error)}")


def _step_name(cell: PageCell) -> str:
    named = cell.annotations.text("step") or cell.annotations.text("label") or ""
    if not named:
        made = cell.writes()
        named = made[0] if len(made) == 1 else f"cell_{cell.number}"
    name = re.sub(r"\W+", "_", named.strip()).strip("_") or f"cell_{cell.number}"
    return f"{name}_" if keyword.iskeyword(name) or name[0].isdigit() else name


def _is_shared(tree: ast.Module) -> bool:
    return bool(tree.body) and all(_is_definition(statement) for statement in tree.body)


def _is_definition(statement: ast.stmt) -> bool:
    if isinstance(statement, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return True
    if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
        return is_literal(statement.value)
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def is_literal(node: ast.expr) -> bool:
    """True for constants, and tuples, lists, sets and dicts of them."""
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _unique(found: Page) -> None:
    seen: dict[str, PageCell] = {}
    for cell in found.cells:
        if cell.part != "step":
            continue
        first = seen.setdefault(cell.step, cell)
        if first is not cell:
            option = cell.annotations.options.get("step") or cell.annotations.options.get("label")
            message = f"two steps are called '{cell.step}': cell {first.number} and cell {cell.number}"
            found.diagnostics.append(
                cell.at(option, "FB007", message, fix=f"rename this one, for example '#| step: {cell.step}_2'")
            )
