"""Classes by name, as saved values name them. Which module is meant by a name is for whoever reads or writes to say.

A worker has the modules that a run pins, a client those it has imported; ``Importable`` knows what anybody can import.
"""

from __future__ import annotations

import importlib
import sys
from types import FunctionType
from typing import Any, Protocol

OWN = "."
"""In place of a module's name: the module that the run pins."""

PINNED = "flowbook_module_"
"""How the names of modules begin that a process has loaded because a run pins them."""


class Classes(Protocol):
    """Finds classes and functions by name, and names them."""

    def find(self, module: str, name: str) -> Any:
        """What is called ``name`` (``Outer.Inner``) in a module. Raises LookupError where it is not there."""

    def name(self, thing: type | FunctionType) -> tuple[str, str] | None:
        """Module and name by which it is found again; None for what has none, such as a class made in a function."""


class Importable:
    """See ``Classes``: what every process can import."""

    def find(self, module: str, name: str) -> Any:
        """See ``Classes``."""
        try:
            return inner(sys.modules.get(module) or importlib.import_module(module), name)
        except (ImportError, ValueError) as error:
            raise LookupError(str(error)) from error

    def name(self, thing: type | FunctionType) -> tuple[str, str] | None:
        """See ``Classes``."""
        module, name = thing.__module__, thing.__qualname__
        if module == "__main__" or not is_at(sys.modules.get(module), name, thing):
            return None
        return _public(module, name, thing), name


def _public(module: str, name: str, thing: Any) -> str:
    """The package that shows what one of its private modules defines: where the private one is, is its own affair, and
    is another matter in the next version (Python 3.13 has ``pathlib._local``).
    """
    while "._" in module:
        package = module.rpartition(".")[0]
        if not is_at(sys.modules.get(package), name, thing):
            break
        module = package
    return module


def inner(module: Any, name: str) -> Any:
    """What has this dotted name in a module. Raises LookupError."""
    found = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise LookupError(str(error)) from error
    return found


def is_at(module: Any, name: str, thing: Any) -> bool:
    """True where the module has this very thing under the name."""
    try:
        return module is not None and inner(module, name) is thing
    except LookupError:
        return False


IMPORTABLE = Importable()
