"""Steps by name, where only the name has come: another worker's, or one for a process of its own."""

from __future__ import annotations

import importlib
from typing import Any

from flowbook.errors import UserError
from flowbook.runtime.definitions import Step
from flowbook.runtime.modules import LoadedModule


def home_of(step: Step[..., Any]) -> str:
    """Where a step is defined, as ``module:name.name``."""
    return f"{step.function.__module__}:{getattr(step.function, '__qualname__', '')}"


def find_step(module: LoadedModule, name: str, home: str, what: str = "") -> Step[..., Any]:
    """The step of this name. Raises UserError where it is not defined at the top level of a module."""
    found = _defined_at(home)
    if isinstance(found, Step):
        return found
    for value in vars(module.namespace).values():
        if isinstance(value, Step) and value.name == name:
            return value
    named = what or f"step '{name}'"
    raise UserError(
        f"{named} is not defined at the top level of module '{module.module.name}', where another process could "
        "find it. Move it there."
    )


def _defined_at(home: str) -> Any:
    """What lies at ``module:name.name``, or None."""
    path, _, qualname = home.partition(":")
    if not qualname or "<" in qualname:
        return None
    try:
        found: Any = importlib.import_module(path)
        for name in qualname.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError):
        return None
    return found
