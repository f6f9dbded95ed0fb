"""Notebooks written as text, for tests: cells apart by lines of ``---``, Markdown cells begin with ``> ``."""

from __future__ import annotations

import linecache
from typing import Any

from flowbook import compiler
from flowbook.runtime.definitions import Workflow


def notebook(text: str) -> dict[str, Any]:
    cells: list[dict[str, Any]] = []
    for number, source in enumerate(("\n" + text.strip("\n") + "\n").split("\n---\n"), 1):
        source = source.strip("\n")
        kind = "markdown" if source.startswith("> ") else "code"
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell{number}", "metadata": {}}
        cell["source"] = source[2:] if kind == "markdown" else source
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell)
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def compiled(text: str, name: str = "page") -> compiler.Compiled:
    return compiler.compile_notebook(notebook(text), name)


def accepted(text: str, name: str = "page") -> Any:
    """The module of a notebook that has to compile without errors."""
    result = compiled(text, name)
    errors = [d for d in result.diagnostics if d.severity == "error"]
    assert not errors, compiler.render(errors, sources(text))
    assert result.module is not None
    return result.module


def sources(text: str) -> dict[str, str]:
    return {cell["id"]: cell["source"] for cell in notebook(text)["cells"]}


def workflow(module: Any) -> Workflow[..., Any]:
    """Execute a module's text and give its workflow, as a worker would."""
    namespace: dict[str, Any] = {"__name__": f"generated_{module.digest}"}
    file = f"<{module.name} {module.digest}>"
    linecache.cache[file] = (len(module.source), None, module.source.splitlines(keepends=True), file)
    exec(compile(module.source, file, "exec"), namespace)
    found = [value for value in namespace.values() if isinstance(value, Workflow)]
    assert [w.name for w in found] == [w.name for w in module.workflows]
    return found[0]


def findings(text: str) -> list[str]:
    """Findings as ``code cell:line:column-end underlined text``."""
    texts = sources(text)
    out = []
    for d in compiled(text).diagnostics:
        lines = texts.get(d.cell, "").splitlines()
        line = lines[d.line - 1] if 0 < d.line <= len(lines) else ""
        out.append(f"{d.code} cell {d.cell_number} line {d.line} [{line[d.column - 1 : d.end_column - 1]}]")
    return out
