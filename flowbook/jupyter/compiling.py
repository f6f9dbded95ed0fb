"""A notebook as it stands in the editor, compiled: for the live graph, and to be run. Read is only what lies beside it.

The compiler and the layout load on first use: a server's start should not wait for networkx and Graphviz.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flowbook.api.beside import with_beside
from flowbook.api.source import chosen
from flowbook.core.module import Module, Workflow
from flowbook.errors import CompileError, UserError

if TYPE_CHECKING:
    from flowbook.compiler import Compiled


def compiled(content: Any, file: Path) -> Compiled:
    """What the compiler makes of the live content of ``file``."""
    from flowbook import compiler

    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        raise UserError(f"the content sent for {file.name} is not a notebook: it has no list of cells")
    folder = str(file.parent)
    return with_beside(
        [file.parent], lambda find: compiler.compile_notebook(content, file.stem, str(file), folder, find)
    )


def page(content: Any, file: Path) -> dict[str, Any]:
    """Everything an editor shows of the workflow: graph with positions, findings, parameters, source."""
    result = compiled(content, file)
    from flowbook.export.layout import layout

    found = result.module
    workflow = found.workflows[0] if found is not None and found.workflows else None
    graph = layout(workflow.graph) if workflow is not None else None
    return {
        "workflow": workflow.name if workflow is not None else "",
        "graph": msgspec.to_builtins(graph) if graph is not None else None,
        "diagnostics": findings(result.diagnostics),
        "parameters": [dict(p) for p in workflow.parameters] if workflow is not None else [],
        "steps": dict(found.steps) if found is not None else {},
        "source": found.source if found is not None else "",
        "module": found.digest if found is not None else "",
        "file": str(file),
    }


def findings(diagnostics: Iterable[Any]) -> list[dict[str, Any]]:
    """Diagnostics with every field, defaults too: the browser knows no defaults."""
    return [{**msgspec.structs.asdict(d), "edits": msgspec.to_builtins(d.edits)} for d in diagnostics]


def runnable(content: Any, file: Path) -> tuple[Module, Workflow]:
    """The module and workflow to run. Raises CompileError, its message naming the first finding."""
    result = compiled(content, file)
    errors = [d for d in result.diagnostics if d.severity == "error"]
    if errors or result.module is None:
        raise CompileError(_refusal(file, errors), tuple(result.diagnostics))
    return result.module, chosen(result.module, "", file)


def _refusal(file: Path, errors: list[Any]) -> str:
    if not errors:
        return f"{file.name} cannot run: it holds no workflow"
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    place = f" Cell {first.cell_number}, line {first.line}." if first.cell else ""
    return f"{file.name} cannot run: {first.message}.{place}{more}".replace("..", ".")
