"""Notebook JSON to cells with a part to play: params, shared, step or scratch. One cell at a time, no dataflow."""

from __future__ import annotations

import ast
import keyword
import re
from typing import Any, Literal

import msgspec

from flowbook.compiler.annotations import Annotations, Option, read_annotations
from flowbook.compiler.diagnostics import Diagnostic
from flowbook.compiler.names import Names, names
from flowbook.compiler.scopes import Place
from flowbook.core.ids import CellId

Part = Literal["params", "shared", "step", "scratch"]

_SET_UP = re.compile(r"%(matplotlib|config|load_ext|reload_ext|autoreload|precision)\b")
_STEP_KEYS = (
    "step",
    "label",
    "map",
    "when",
    "wait",
    "undo",
    "retries",
    "backoff",
    "timeout",
    "needs",
    "concurrency",
    "queue",
    "priority",
    "heartbeat",
    "isolate",
    "memory",
    "at_most_once",
    "external",
)


class PageCell(msgspec.Struct):
    """A code cell.

    ``body`` is its source without the annotation lines; ``prose`` the Markdown directly above; ``implied`` that it is
    shared because of what it holds, not because somebody said so.
    """

    id: CellId
    number: int
    source: str
    body: str
    annotations: Annotations
    part: Part
    step: str = ""
    names: Names | None = None
    prose: str = ""
    implied: bool = False

    @property
    def offset(self) -> int:
        """Lines before the body."""
        return self.annotations.lines

    def reads(self) -> list[str]:
        """Names the step takes: inferred, or as annotated."""
        inferred = list(self.names.reads) if self.names else []
        return _merged(inferred, self.annotations.names("reads"))

    def binds(self) -> set[str]:
        """Every name that exists once the cell has run, those that stay private in a step included."""
        return {*self.names.writes, *self.names.private} if self.names else set()

    def writes(self) -> list[str]:
        """Names the step gives: inferred, or as annotated."""
        inferred = list(self.names.writes) if self.names else []
        return _merged(inferred, self.annotations.names("writes"))

    def at(self, place: Place | Option | None, code: str, message: str, **more: Any) -> Diagnostic:
        """A finding in this cell; ``place`` is in its body, or an option's."""
        line, column, end = 1, 1, len(self.source.partition("\n")[0]) + 1
        if isinstance(place, Option):
            line, column, end = place.line, place.column, place.column + max(1, len(place.text))
        elif place is not None:
            line = place.line + self.offset
            column, end = _characters(self.body, place)
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


def _characters(body: str, place: Place) -> tuple[int, int]:
    """Columns of a place in characters; the syntax tree counts bytes."""
    lines = body.split("\n")
    row = lines[place.line - 1].encode() if place.line <= len(lines) else b""
    column, end = (len(row[: at - 1].decode(errors="replace")) + 1 for at in (place.column, place.end_column))
    return column, max(end, column + 1)


def _merged(inferred: list[str], annotated: list[str]) -> list[str]:
    return inferred + [name for name in annotated if name not in inferred]


class Page(msgspec.Struct):
    """The cells of a notebook that have code, and what its Markdown says first."""

    cells: list[PageCell]
    title: str = ""
    workflow: str = ""
    schedule: str = ""
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
            cell_id = str(cell.get("id") or f"cell-{number}")
            made = _cell(cell_id, number, source, _tags(cell), prose, found.diagnostics)
            found.cells.append(made)
            _name_workflow(found, made)
            prose = ""
    _unique(found)
    return found


def _name_workflow(found: Page, cell: PageCell) -> None:
    found.schedule = found.schedule or cell.annotations.text("schedule") or ""
    option = cell.annotations.options.get("workflow")
    if option is not None and found.workflow and option.text != found.workflow:
        message = f"the workflow is called '{found.workflow}' further up"
        found.diagnostics.append(cell.at(option, "FB016", message, fix="a notebook is one workflow: keep one name"))
    elif option is not None:
        found.workflow = option.text


def _source(cell: Any) -> str | None:
    source = cell.get("source") if isinstance(cell, dict) else None
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str) or (not source.isprintable() and re.search("[\ud800-\udfff]", source)):
        return None
    return re.sub(r"\r\n?", "\n", source)


def _tags(cell: dict[str, Any]) -> list[Any]:
    metadata = cell.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return tags if isinstance(tags, list) else []


def _title(markdown: str) -> str:
    heading = re.search(r"^#+\s+(.+)$", markdown, re.MULTILINE)
    return heading.group(1).strip() if heading else ""


def _cell(id: str, number: int, source: str, tags: list[Any], prose: str, findings: list[Diagnostic]) -> PageCell:
    head = read_annotations(source, id, number)
    findings += head.diagnostics
    body = "\n".join(source.split("\n")[head.lines :])
    cell = PageCell(CellId(id), number, source, body, head, "scratch", prose=prose)
    cell.part = _annotated_part(head, tags)
    findings += _two_parts(cell)
    try:
        cell.names = _names(cell)
    except (SyntaxError, ValueError) as error:
        if cell.part == "step":
            cell.step = _step_name(cell)
        if cell.part != "scratch":
            findings.append(_broken(cell, error))
        return cell
    if cell.part == "scratch" and not head.ignored and _is_shared(cell.names.tree):
        cell.part = "shared"
        cell.implied = True
    if cell.part == "step":
        cell.step = _step_name(cell)
        fix = "write it out in another way, or keep it in a cell without annotations"
        findings += [
            cell.at(refused.place, "FB005", f"{refused.what}; a step cannot have it", fix=fix)
            for refused in cell.names.refused
        ]
        if not cell.names.tree.body and "wait" not in head.options:
            option = head.options.get("step") or next(iter(head.options.values()))
            fix = "write the step's code below its annotations"
            findings.append(cell.at(option, "FB015", f"step '{cell.step}' has no code", fix=fix))
    return cell


def _annotated_part(head: Annotations, tags: list[Any]) -> Part:
    if head.ignored:
        return "scratch"
    if "params" in head.options or "parameters" in tags:
        return "params"
    if "shared" in head.options:
        return "shared"
    looped = any(key.startswith("loop") for key in head.options)
    return "step" if looped or any(key in head.options for key in _STEP_KEYS) else "scratch"


def _two_parts(cell: PageCell) -> list[Diagnostic]:
    """A cell that is to be a step and something else."""
    other = next((key for key in _STEP_KEYS if key in cell.annotations.options), None)
    if other is None or cell.part not in ("params", "shared"):
        return []
    message = f"a cell cannot be {'a step' if other in ('step', 'label') else f'under {other!r}'} and {cell.part!r} too"
    option = cell.annotations.options[other]
    return [cell.at(option, "FB016", message, fix=f"take '{other}' or '{cell.part}' away")]


def _names(cell: PageCell) -> Names:
    """What the cell's code does with names; magics that only set up the notebook are made comments where they stand."""
    try:
        return names(cell.body)
    except SyntaxError:
        body = _without_magics(cell.body)
        if body == cell.body:
            raise
        found = names(body)
        cell.body = body
        return found


def _without_magics(body: str) -> str:
    return "\n".join(f"# {line}" if _SET_UP.match(line) else line for line in body.split("\n"))


def _broken(cell: PageCell, error: SyntaxError | ValueError) -> Diagnostic:
    lines = cell.body.split("\n")
    line = min(getattr(error, "lineno", None) or 1, len(lines))
    column = max(1, min(getattr(error, "offset", None) or 1, len(lines[line - 1]) + 1))
    end = getattr(error, "end_offset", None) or 0
    same = getattr(error, "end_lineno", None) in (None, line)
    text = lines[line - 1]
    place = Place(line, len(text[: column - 1].encode()) + 1, len(text[: column - 1].encode()) + 2)
    if same and end > column:
        place = Place(line, place.column, len(text[: end - 1].encode()) + 1)
    if text.lstrip().startswith(("%", "!")):
        fix = "move magics and shell lines to a cell without annotations"
        return cell.at(place, "FB005", "IPython's magics and shell lines cannot be in a step", fix=fix)
    message = f"this is not Python: {getattr(error, 'msg', error)}"
    return cell.at(place, "FB006", message, fix="mend the line; a cell has to run by itself before it can be a step")


def _named_by(cell: PageCell) -> Option | None:
    found = (cell.annotations.options.get(key) for key in ("step", "label"))
    return next((option for option in found if option is not None and option.text), None)


def _step_name(cell: PageCell) -> str:
    option = _named_by(cell)
    named = option.text if option is not None else ""
    if not named:
        made = cell.writes()
        named = made[0] if len(made) == 1 else f"cell_{cell.number}"
    name = re.sub(r"\W+", "_", named.strip()).strip("_") or f"cell_{cell.number}"
    if name[0].isdigit():
        return f"step_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name == "params" else name


def _is_shared(tree: ast.Module) -> bool:
    return bool(tree.body) and all(_is_definition(statement) for statement in tree.body)


def _is_definition(statement: ast.stmt) -> bool:
    if isinstance(statement, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return True
    if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
        return is_literal(statement.value)
    if isinstance(statement, ast.Try):
        handled = [inner for handler in statement.handlers for inner in handler.body]
        inside = [*statement.body, *handled, *statement.orelse, *statement.finalbody]
        return all(isinstance(inner, ast.Pass) or _is_definition(inner) for inner in inside)
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
        if first is cell:
            continue
        option = _named_by(cell)
        if option is None:
            stem, count = cell.step, 2
            while f"{stem}_{count}" in seen:
                count += 1
            cell.step = f"{stem}_{count}"
            seen[cell.step] = cell
        else:
            message = f"two steps are called '{cell.step}': cell {first.number} and cell {cell.number}"
            found.diagnostics.append(
                cell.at(option, "FB007", message, fix=f"rename this one, for example '#| step: {cell.step}_2'")
            )
