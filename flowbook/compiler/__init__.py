"""Notebooks and modules to what the engine stores: annotations, names, step graph, module text, findings. Pure.

The stages, in order: ``annotations`` and ``names`` read one cell, ``cells`` gives each its part, ``dataflow`` resolves
names over the page, ``generate`` writes the module, ``modules`` and ``graphs`` read a module's text back.
"""

from __future__ import annotations

from typing import Any

from flowbook.compiler.beside import Find
from flowbook.compiler.cells import page
from flowbook.compiler.dataflow import flow
from flowbook.compiler.diagnostics import Diagnostic, Edit, has_errors, render
from flowbook.compiler.generate import generate, identifier
from flowbook.compiler.modules import Compiled, compile_module, nothing

__all__ = ["Compiled", "Diagnostic", "Edit", "compile_module", "compile_notebook", "has_errors", "nothing", "render"]


def compile_notebook(notebook: Any, name: str, origin: str = "", folder: str = "", find: Find = nothing) -> Compiled:
    """Compile a notebook's JSON.

    ``name`` is the file's stem; a ``#| workflow: name`` annotation wins. ``find`` gives what lies beside it.

    Never raises for what a user wrote: the findings say what is wrong, and ``module`` is None where one is an error.
    """
    cells = page(notebook)
    resolved = flow(cells)
    findings = tuple(resolved.diagnostics)
    if has_errors(findings):
        return Compiled(None, findings)
    called = identifier(cells.workflow or name)
    compiled = compile_module(generate(cells, resolved, called, origin), called, origin, folder, find)
    return Compiled(compiled.module, (*findings, *compiled.diagnostics), cells.schedule)
