"""The code of a ``@workflow`` that is already loaded, as a module to pin: its file, or the cells that define it.

In a kernel there is no file. There the statements that bind the workflow and every name it uses, and the names those
use in turn, are collected from the cells that were run, newest first; statements that bind nothing needed stay out.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from flowbook.core.module import Module, Workflow
from flowbook.errors import UserError
from flowbook.runtime import decorated, definitions

LOADED = "flowbook_module_"
"""How the names of modules begin that a worker has loaded."""


def compiled(workflow: definitions.Workflow[..., Any]) -> tuple[Module, Workflow]:
    """The module that defines this workflow, and the workflow in it."""
    from flowbook import compiler
    from flowbook.api.beside import with_beside
    from flowbook.api.source import accepted, chosen, compile_file

    if decorated.is_local(workflow.function):
        raise UserError(decorated.local(workflow.name))
    file = _file(workflow)
    if file is not None:
        module = accepted(compile_file(file), file)
        return module, chosen(module, workflow.name, file)
    cells = _cells()
    if cells is None:
        raise UserError(
            f"the code of workflow '{workflow.name}' cannot be read back (it was typed in or made by exec); "
            "save it in a .py file or a notebook and start it from there"
        )
    text = gather(workflow.function.__name__, cells)
    folder = Path.cwd()
    place = Path(f"the cells of {workflow.name}")
    made = with_beside(
        [folder], lambda find: compiler.compile_module(text, workflow.name, folder=str(folder), find=find)
    )
    module = accepted(made, place)
    return module, chosen(module, workflow.name, place)


def refuse_while_loading(workflow: definitions.Workflow[..., Any], call: str = "start") -> None:
    """A worker loads a module to run it; were it to start a run whenever it is loaded, there would be no end."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>" and _starts_when_loaded(frame, workflow):
            raise UserError(
                f"the module calls {workflow.name}.{call}() when it is loaded, and a worker has to load it to run it; "
                "put that call under: if __name__ == '__main__':"
            )
        frame = frame.f_back


def _starts_when_loaded(frame: FrameType, workflow: definitions.Workflow[..., Any]) -> bool:
    name = str(frame.f_globals.get("__name__"))
    if name.startswith(LOADED):
        return True
    file = Path(frame.f_code.co_filename)
    if name != "__main__" or file.suffix != ".py" or file != _file(workflow):
        return False
    outer = next(
        (n for n in ast.parse(file.read_text()).body if n.lineno <= frame.f_lineno <= (n.end_lineno or 0)), None
    )
    return not (isinstance(outer, ast.If) and "__name__" in ast.unparse(outer.test))


def _file(workflow: definitions.Workflow[..., Any]) -> Path | None:
    """The file that defines it; in a worker, the one the running module came from."""
    function = inspect.unwrap(workflow.function)
    own = Path(function.__code__.co_filename)
    if own.suffix == ".py" and own.is_file():
        return own
    origin = getattr(sys.modules.get(function.__module__), "__file__", None)
    is_cell = _cells() is not None
    return Path(origin) if origin and not is_cell and Path(origin).is_file() else None


def _cells() -> list[str] | None:
    """What was run in this kernel, as plain Python, oldest first."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return None if shell is None else list(shell.history_manager.input_hist_parsed)


@dataclass(frozen=True)
class _Statement:
    cell: int
    line: int
    text: str
    reads: frozenset[str]


def gather(name: str, cells: list[str]) -> str:
    """Python text that defines ``name``: the newest statement that binds it, and all that it needs."""
    binding = _bindings(cells)
    if name not in binding:
        raise UserError(f"no cell that was run defines '{name}'; run the cell that defines it, then start it")
    needed, found = [name], {}
    while needed:
        wanted = needed.pop()
        if wanted in found or wanted not in binding:
            continue
        found[wanted] = binding[wanted]
        needed += sorted(binding[wanted].reads)
    ordered = sorted(set(found.values()), key=lambda s: (s.cell, s.line))
    return "\n\n".join(statement.text for statement in ordered) + "\n"


def _bindings(cells: list[str]) -> dict[str, _Statement]:
    """The newest top-level statement that binds each name."""
    binding: dict[str, _Statement] = {}
    for number, cell in enumerate(cells):
        try:
            tree = ast.parse(cell)
        except SyntaxError:
            continue
        lines = cell.splitlines()
        for node in tree.body:
            bound = _bound(node)
            if not bound:
                continue
            decorators = getattr(node, "decorator_list", [])
            first = min([node.lineno, *(d.lineno for d in decorators)])
            text = "\n".join(lines[first - 1 : node.end_lineno])
            binding.update(dict.fromkeys(bound, _Statement(number, first, text, _reads(node))))
    return binding


def _bound(node: ast.stmt) -> set[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=names):
            return {alias.asname or alias.name.partition(".")[0] for alias in names}
        case ast.ImportFrom(names=names):
            return {alias.asname or alias.name for alias in names}
        case ast.Assign() | ast.AnnAssign():
            return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        case _:
            return set()


def _reads(node: ast.stmt) -> frozenset[str]:
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return frozenset(names - set(dir(builtins)))
