"""What a workflow's annotations mean, as far as the text of its module says so: no code of it is run.

Known are Python's own types and what the module imports from a few modules of the standard library. Of an annotation
that names anything else nothing is known, and its value is checked where the workflow is run.
"""

from __future__ import annotations

import ast
import builtins
import importlib
from collections.abc import Mapping
from typing import Any

from flowbook.core.module import Module, Workflow

_BUILTIN = ("str", "int", "float", "bool", "bytes", "list", "dict", "set", "frozenset", "tuple")
_LIBRARY = ("typing", "collections.abc", "datetime", "decimal", "uuid")
_FORMS = (ast.Expression, ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.BinOp, ast.BitOr, ast.Constant)


def types(module: Module, workflow: Workflow) -> dict[str, Any]:
    """The types of the workflow's parameters that are known."""
    names = _names(module.source)
    meant = {str(p["name"]): _meaning(str(p.get("annotation") or ""), names) for p in workflow.parameters}
    return {name: wanted for name, wanted in meant.items() if wanted is not None}


def _names(source: str) -> dict[str, Any]:
    """What the names mean that annotations may have. One that the module itself gives a meaning is not known."""
    known: dict[str, Any] = {name: getattr(builtins, name) for name in _BUILTIN}
    for node in ast.parse(source).body:
        match node:
            case ast.ImportFrom(module=str() as library, names=aliases, level=0) if library in _LIBRARY:
                found = importlib.import_module(library)
                known |= {alias.asname or alias.name: getattr(found, alias.name, None) for alias in aliases}
            case ast.Import(names=aliases):
                for alias in aliases:
                    if alias.name in _LIBRARY and (alias.asname or "." not in alias.name):
                        known[alias.asname or alias.name] = importlib.import_module(alias.name)
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                known.pop(name, None)
            case ast.Assign(targets=[ast.Name(id=name)]):
                known.pop(name, None)
    return known


def _meaning(annotation: str, names: Mapping[str, Any]) -> Any:
    """The type, or None where it is not known."""
    try:
        tree = ast.parse(annotation.strip(), mode="eval")
    except SyntaxError:
        return None
    parts = [node for node in ast.walk(tree) if not isinstance(node, ast.expr_context)]
    if not all(isinstance(node, _FORMS) for node in parts):
        return None
    if any(isinstance(node, ast.Name) and names.get(node.id) is None for node in parts):
        return None
    try:
        # Names of the standard library, and what is made of them with [ ], | and a dot.
        return eval(compile(tree, "<annotation>", "eval"), {"__builtins__": {}}, dict(names))
    except Exception:
        return None
