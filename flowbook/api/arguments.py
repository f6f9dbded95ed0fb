"""A run's arguments: read from text, checked against what the workflow says it takes."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from flowbook.api import meaning
from flowbook.core.module import Module, Workflow
from flowbook.errors import UserError
from flowbook.runtime.readings import read
from flowbook.runtime.typed import convert

_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "list": (list,),
    "tuple": (list, tuple),
    "set": (list, set),
    "dict": (dict,),
    "None": (type(None),),
    "bytes": (bytes,),
}


def read_params(texts: Iterable[str]) -> dict[str, str]:
    """``["k=v", ...]`` as a mapping of texts."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise UserError(f"'-p {text}' is not a parameter; write -p name=value")
        found[name.strip()] = value
    return found


def read_labels(texts: Iterable[str]) -> dict[str, str]:
    """``["k=v", ...]`` of ``--attribute`` as a mapping of texts."""
    pairs = [(text, *text.partition("=")) for text in texts]
    for text, name, equals, _ in pairs:
        if not equals or not name.strip():
            raise UserError(f"'--attribute {text}' is no label; write --attribute name=value")
    return {name.strip(): value for _, name, _, value in pairs}


def from_texts(module: Module, workflow: Workflow, texts: Mapping[str, str]) -> dict[str, Any]:
    """Arguments typed in a shell: JSON where it is JSON, else the text; then checked."""
    annotations = {str(p["name"]): str(p.get("annotation") or "") for p in workflow.parameters}
    known = meaning.types(module, workflow)
    values = checked(workflow, {name: _value(text, annotations.get(name, "")) for name, text in texts.items()})
    return {
        name: _known(workflow, name, (value, texts[name]), known[name]) if name in known else value
        for name, value in values.items()
    }


def _known(workflow: Workflow, name: str, readings: tuple[Any, str], wanted: Any) -> Any:
    """The first reading that is what is wanted, as it is: a worker makes its own of it. Raises UserError."""
    value, text = readings
    try:
        convert(workflow.name, name, value, wanted)
    except UserError:
        with suppress(UserError):
            if value is not None:
                convert(workflow.name, name, text, wanted)
                return text
        raise
    return value


def checked(workflow: Workflow, given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` when the workflow takes exactly such arguments. Raises UserError saying what does not fit."""
    parameters = {str(p["name"]): p for p in workflow.parameters}
    for name in given:
        if name not in parameters:
            close = difflib.get_close_matches(name, parameters, 1)
            hint = f"did you mean '{close[0]}'?" if close else f"it takes: {', '.join(parameters) or 'none'}."
            raise UserError(f"{workflow.name} has no parameter '{name}'; {hint}")
    for name, parameter in parameters.items():
        if name not in given and parameter.get("default") is None:
            raise UserError(f"{workflow.name} needs a value for '{name}': pass -p {name}=... or {name}=...")
    for name, value in given.items():
        annotation = str(parameters[name].get("annotation") or "")
        if not _fits(value, annotation):
            raise UserError(f"'{name}' must be {annotation}, not {type(value).__name__} ({value!r})")
    return dict(given)


def _value(text: str, annotation: str) -> Any:
    """JSON where it is JSON, else the text; the text as well where only that fits (``-p order=123`` for a str)."""
    value = read(text)
    return text if not _fits(value, annotation) and _fits(text, annotation) else value


def _fits(value: Any, annotation: str) -> bool:
    """False only when the annotation is one of the plain kinds, or a union of such, and the value is none of them."""
    if not annotation:
        return True
    kinds = _kinds(annotation)
    if kinds is None:
        return True
    if isinstance(value, bool) and bool not in kinds:
        return False
    return isinstance(value, kinds)


def _kinds(annotation: str) -> tuple[type, ...] | None:
    try:
        tree = ast.parse(annotation.strip(), mode="eval").body
    except SyntaxError:
        return None
    return _of(tree)


def _of(tree: ast.expr) -> tuple[type, ...] | None:
    match tree:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            sides = _of(left), _of(right)
            return None if sides[0] is None or sides[1] is None else (*sides[0], *sides[1])
        case ast.Constant(value=None):
            return (type(None),)
        case ast.Constant(value=str() as quoted):
            return _kinds(quoted)
        case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)):
            return _KINDS.get(name)
        case _:
            return None
