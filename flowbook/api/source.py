"""From a file to the module a run pins: read it, compile it, choose the workflow."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbook.api.beside import Beside, Stamp, stamp
from flowbook.core.module import Module, Workflow
from flowbook.errors import CompileError, UserError

if TYPE_CHECKING:
    from flowbook.compiler import Compiled, Diagnostic
    from flowbook.compiler.beside import Find


def split_target(target: str) -> tuple[Path, str]:
    """``FILE[:NAME]`` as a path and a workflow's name ("" for the only one)."""
    file, colon, name = target.rpartition(":")
    if colon and name.isidentifier() and not Path(target).exists():
        return Path(file), name
    return Path(target), ""


def compile_file(path: Path) -> Compiled:
    """Compile a notebook or a Python file; findings are in the result. Raises UserError where it cannot be read."""
    from flowbook import compiler

    full = path.absolute()
    known = _compiled.get(full)
    if known is not None and all(stamp(file) == then for file, then in known[0].items()):
        return known[1]
    stamps = {full: stamp(full)}
    text = _read(path)
    files = Beside((full.parent, Path.cwd()))
    folder = str(full.parent)
    page = None if path.suffix == ".py" else _notebook(text, path)

    def compiling(find: Find) -> Compiled:
        if page is None:
            return compiler.compile_module(text, path.stem, str(full), folder, find)
        return compiler.compile_notebook(page, path.stem, str(full), folder, find)

    found = files.given_to(compiling)
    _compiled[full] = ({**stamps, **files.stamps}, found)
    return found


_compiled: dict[Path, tuple[dict[Path, Stamp], Compiled]] = {}
"""What files were compiled to, as long as neither they nor what lies beside them have changed."""


def load(target: str | Path) -> tuple[Module, Workflow]:
    """The module and the workflow of ``FILE[:NAME]``. Raises CompileError with the findings."""
    path, name = split_target(str(target))
    compiled = compile_file(path)
    module = accepted(compiled, path)
    return module, chosen(module, name, path)


def accepted(compiled: Compiled, path: Path) -> Module:
    """The module, or CompileError with the findings."""
    errors = [d for d in compiled.diagnostics if d.severity == "error"]
    if errors or compiled.module is None:
        raise CompileError(
            f"{path} cannot run: {_count(errors)}\n\n{render(errors, path)}",
            tuple(compiled.diagnostics),
        )
    return compiled.module


def chosen(module: Module, name: str, path: Path | str) -> Workflow:
    """The workflow with this name, or the only one. Raises UserError listing what there is."""
    names = [workflow.name for workflow in module.own]
    if not names:
        raise UserError(f"{path} has no workflow: write '#| step' on top of a cell, or @workflow on an async function")
    if not name:
        if len(names) > 1:
            raise UserError(f"{path} has {len(names)} workflows; say which: " + ", ".join(f"{path}:{n}" for n in names))
        return module.own[0]
    found = next((workflow for workflow in module.own if workflow.name == name), None)
    if found is None:
        close = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean '{close[0]}'?" if close else f"it has: {', '.join(names)}."
        raise UserError(f"{path} has no workflow '{name}'; {hint}")
    return found


def render(diagnostics: Iterable[Diagnostic], path: Path) -> str:
    """Findings for people, each with its place, its line of code and what to do."""
    from flowbook import compiler

    return compiler.render(diagnostics, cell_texts(path), str(path))


def cell_texts(path: Path) -> dict[str, str]:
    """Source of each cell by id ("" for a Python file), for showing lines of code. Empty where it cannot be read."""
    try:
        text = _read(path)
        if path.suffix == ".py":
            return {"": text}
        return {
            str(cell.get("id") or f"cell-{number}"): _joined(cell.get("source", ""))
            for number, cell in enumerate(_notebook(text, path)["cells"], 1)
        }
    except UserError:
        return {}


def _joined(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def _read(path: Path) -> str:
    if path.suffix not in (".ipynb", ".py"):
        raise UserError(f"{path} is neither a notebook (.ipynb) nor a Python file (.py)")
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"there is no file {path}{_nearby(path)}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; name a notebook or a Python file in it") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text in UTF-8, so it is neither a notebook nor Python code") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def _nearby(path: Path) -> str:
    folder = path.parent
    names = [p.name for p in folder.iterdir() if p.suffix in (".ipynb", ".py")] if folder.is_dir() else []
    close = difflib.get_close_matches(path.name, names, 1)
    return f"; did you mean {folder / close[0]}?" if close else f" (looked in {folder.absolute()})"


def _notebook(text: str, path: Path) -> dict[str, Any]:
    try:
        notebook = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path} is not a notebook: its JSON breaks off or is damaged ({error})") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise UserError(f"{path} is not a notebook: it has no list of cells (nbformat 4 is expected)")
    return notebook


def _count(errors: list[Diagnostic]) -> str:
    return "1 error" if len(errors) == 1 else f"{len(errors)} errors"
