"""Steps by name, where only the name has come: another worker's, or one for a process of its own."""

from __future__ import annotations

from typing import Any

from flowbook.errors import UserError
from flowbook.runtime.definitions import Step
from flowbook.runtime.modules import LoadedModule


def home_of(step: Step[..., Any]) -> str:
    """Where a step is defined, as ``module:name.name``."""
    return step.ref.home


def find_step(module: LoadedModule, name: str, home: str, what: str = "") -> Step[..., Any]:
    """The step of this name. Raises UserError where it is not defined at the top level of a module."""
    found = module.step(name, home)
    if found is not None:
        return found
    named = what or f"step '{name}'"
    raise UserError(
        f"{named} is not defined at the top level of module '{module.module.name}', where another process could "
        "find it. Move it there."
    )
