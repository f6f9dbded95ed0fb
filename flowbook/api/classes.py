"""The classes that this process has for the values of a run: its own where it has them, else those that the run pins.

What people compare a result with is the class they have imported, not a copy of it; a notebook's is in ``__main__``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from flowbook.core.module import Module
from flowbook.wire.classes import IMPORTABLE, OWN, inner, is_at


class OfRun:
    """See ``Classes``. ``fetch`` gives the module that the run pins; it is called only where a value needs it."""

    def __init__(self, fetch: Callable[[], Module]) -> None:
        self._fetch = fetch

    @cached_property
    def module(self) -> Module:
        """What the run pins."""
        return self._fetch()

    def find(self, module: str, name: str) -> Any:
        """See ``Classes``."""
        if module not in (OWN, "__main__"):
            try:
                return IMPORTABLE.find(module, name)
            except LookupError:
                return self._pinned.find(module, name)
        here = self._here
        if here is not None and is_at(here, name, getattr(here, name, None)):
            return inner(here, name)
        return self._pinned.find(OWN, name)

    def name(self, thing: type | FunctionType) -> tuple[str, str] | None:
        """See ``Classes``."""
        module, name = thing.__module__, thing.__qualname__
        is_here = module == "__main__" or _file(sys.modules.get(module)) == (self.module.origin or None)
        if is_here and name.partition(".")[0] in self._defined and is_at(sys.modules.get(module), name, thing):
            return OWN, name
        return IMPORTABLE.name(thing)

    @cached_property
    def _defined(self) -> set[str]:
        """Names that the pinned module defines at its top level."""
        tree = ast.parse(self.module.source)
        return {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}

    @cached_property
    def _here(self) -> ModuleType | None:
        """The module of this process that came from the same file, or the notebook or script that this process is."""
        origin, main = self.module.origin, sys.modules.get("__main__")
        if origin.endswith(".py"):
            found = (module for module in list(sys.modules.values()) if origin and _file(module) == origin)
            return next(found, None)
        return main

    @cached_property
    def _pinned(self) -> Any:
        from flowbook.runtime.modules import load

        return load(self.module)


def _file(module: ModuleType | None) -> str | None:
    file = getattr(module, "__file__", None)
    return str(Path(file).absolute()) if isinstance(file, str) else None
