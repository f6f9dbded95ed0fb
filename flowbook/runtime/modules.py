"""Stored modules as Python modules: loaded by digest, once, with what they import from beside them, as it was.

Each digest has modules of its own, so that the code of one run knows nothing of an edit made for another. Their names
begin with that of the pinned module; in source, values and errors they go by the names people gave them.
"""

from __future__ import annotations

import builtins
import importlib
import linecache
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import FunctionType, ModuleType
from typing import Any

from flowbook.core.ids import Digest
from flowbook.core.module import Imported, Module
from flowbook.errors import UserError
from flowbook.runtime.definitions import Workflow
from flowbook.runtime.outcomes import Places
from flowbook.wire.classes import IMPORTABLE, OWN, PINNED, inner, is_at


class LoadedModule:
    """A module's facts, its namespace, and where its lines come from. Its classes are found by name (see
    ``Classes``).
    """

    def __init__(self, module: Module, namespace: ModuleType, file: str) -> None:
        self.module = module
        self.namespace = namespace
        self.numbers = {cell.id: cell.number for cell in module.cells}
        self.places = Places(file, self._cell)
        self._imports = {imported.name for imported in module.imports}
        self._workflows: dict[str, Workflow[..., object]] = {}

    def workflow(self, name: str) -> Workflow[..., object]:
        """The workflow of this name: the module's own, or one of those beside it. Raises UserError where there is
        none.
        """
        found = self._workflows.get(name)
        if found is None:
            found = self._workflows[name] = self._found(name)
        return found

    def _found(self, name: str) -> Workflow[..., object]:
        own = self.namespace.__name__
        others = (module for name, module in list(sys.modules.items()) if name.startswith(f"{own}."))
        for namespace in (self.namespace, *others):
            for value in vars(namespace).values():
                if isinstance(value, Workflow) and value.name == name:
                    return value
        raise UserError(f"module '{self.module.name}' defines no workflow '{name}'; was it renamed?")

    def _cell(self, line: int) -> tuple[str, int, int] | None:
        place = self.module.locate(line)
        if place is None:
            return None
        cell, cell_line = place
        return str(cell), self.numbers.get(cell, 0), cell_line

    def find(self, module: str, name: str) -> Any:
        """See ``Classes``."""
        own = self.namespace.__name__
        if module in (OWN, "__main__", own):
            return inner(self.namespace, name)
        module = module.removeprefix(f"{own}.")
        if module in self._imports:
            return inner(importlib.import_module(f"{own}.{module}"), name)
        if module == self.module.name and is_at(self.namespace, name, getattr(self.namespace, name, None)):
            return inner(self.namespace, name)
        return IMPORTABLE.find(module, name)

    def name(self, thing: type | FunctionType) -> tuple[str, str] | None:
        """See ``Classes``."""
        own, module, name = self.namespace.__name__, thing.__module__, thing.__qualname__
        if module == own or module.startswith(f"{own}."):
            known = OWN if module == own else module.removeprefix(f"{own}.")
            return (known, name) if is_at(sys.modules.get(module), name, thing) else None
        return IMPORTABLE.name(thing)


_loaded: dict[Digest, LoadedModule] = {}
_imports: dict[str, Imported] = {}
"""What is pinned beside the modules, by the name it is loaded under."""


def loaded(digest: Digest) -> LoadedModule | None:
    """The module, if this process has it."""
    return _loaded.get(digest)


def load(module: Module) -> LoadedModule:
    """Execute the module's source under a name of its own. Errors of the source propagate."""
    found = _loaded.get(module.digest)
    if found is not None:
        return found
    if module.folder and module.folder not in sys.path:
        sys.path.insert(0, module.folder)
    namespace = ModuleType(f"{PINNED}{module.digest}", None)
    namespace.__file__ = module.origin or _label(module.name, module.digest)
    namespace.__path__ = []
    _imports.update({f"{namespace.__name__}.{imported.name}": imported for imported in module.imports})
    if module.imports:
        vars(namespace)["__builtins__"] = _builtins(namespace.__name__, module)
    sys.modules[namespace.__name__] = namespace
    try:
        file = _execute(module.source, _label(module.name, module.digest), namespace)
    except BaseException:
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{namespace.__name__}.")]:
            del sys.modules[name]
        raise
    _loaded[module.digest] = found = LoadedModule(module, namespace, file)
    return found


def offer(module: Module, workflows: dict[str, Workflow[..., object]], file: str) -> None:
    """Have workflows that live in this process stand for a module's digest: for tests."""
    namespace = ModuleType(f"{PINNED}{module.digest}", None)
    vars(namespace).update(workflows)
    _loaded[module.digest] = LoadedModule(module, namespace, file)


def withdraw(digest: Digest) -> None:
    """Take back what was offered."""
    _loaded.pop(digest, None)


def _label(name: str, digest: str) -> str:
    """What tracebacks call the file: its text is that of the digest, not what lies on the disk by now."""
    return f"<{name} {digest[:8]}>"


def _execute(source: str, label: str, namespace: ModuleType) -> str:
    linecache.cache[label] = (len(source), None, source.splitlines(keepends=True), label)
    exec(compile(source, label, "exec"), vars(namespace))
    return label


# What lies beside a module


def _builtins(pinned: str, module: Module) -> dict[str, Any]:
    """The builtins of pinned code: its imports find what is pinned with it first."""
    tops = {imported.name.partition(".")[0] for imported in module.imports}

    def importing(
        name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] | None = (), level: int = 0
    ) -> Any:
        if level == 0 and name == module.name and name not in tops:
            return sys.modules[pinned]
        if level or name.partition(".")[0] not in tops:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        return _import(pinned, name, fromlist or ())

    return {**vars(builtins), "__import__": importing}


def _import(pinned: str, name: str, fromlist: Sequence[str]) -> ModuleType:
    """``import name`` and ``from name import ...``, of what is pinned."""
    try:
        found = importlib.import_module(f"{pinned}.{name}")
    except ModuleNotFoundError as error:
        missing = str(error.name).removeprefix(f"{pinned}.")
        raise ModuleNotFoundError(f"No module named '{missing}' beside this run's code", name=missing) from None
    for part in fromlist:
        if f"{pinned}.{name}.{part}" in _imports and not hasattr(found, part):
            importlib.import_module(f"{pinned}.{name}.{part}")
    return found if fromlist else sys.modules[f"{pinned}.{name.partition('.')[0]}"]


class _Beside(MetaPathFinder, Loader):
    """Finds and loads what is pinned beside a module."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        imported = _imports.get(fullname)
        return None if imported is None else spec_from_loader(fullname, self, is_package=imported.package)

    def exec_module(self, module: ModuleType) -> None:
        imported = _imports[module.__name__]
        pinned = module.__name__.removesuffix(f".{imported.name}")
        module.__file__ = imported.file or None
        vars(module)["__builtins__"] = vars(sys.modules[pinned])["__builtins__"]
        _execute(imported.source, _label(imported.name, pinned.removeprefix(PINNED)), module)


sys.meta_path.append(_Beside())
