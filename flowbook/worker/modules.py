"""Stored modules as Python modules: loaded by digest, once, with their source visible to tracebacks."""

from __future__ import annotations

import linecache
import sys
from types import ModuleType

from flowbook.core.ids import Digest
from flowbook.core.module import Module
from flowbook.errors import UserError
from flowbook.runtime.definitions import Workflow
from flowbook.runtime.outcomes import Places


class LoadedModule:
    """A module's facts, its namespace, and where its lines come from."""

    def __init__(self, module: Module, namespace: ModuleType, file: str) -> None:
        self.module = module
        self.namespace = namespace
        self.numbers = {cell.id: cell.number for cell in module.cells}
        self.places = Places(file, self._cell)

    def workflow(self, name: str) -> Workflow[..., object]:
        """The workflow of this name. Raises UserError where the module has none."""
        for value in vars(self.namespace).values():
            if isinstance(value, Workflow) and value.name == name:
                return value
        raise UserError(f"module '{self.module.name}' defines no workflow '{name}'; was it renamed?")

    def _cell(self, line: int) -> tuple[str, int, int] | None:
        place = self.module.locate(line)
        if place is None:
            return None
        cell, cell_line = place
        return str(cell), self.numbers.get(cell, 0), cell_line


_loaded: dict[Digest, LoadedModule] = {}


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
    file = f"<{module.name} {module.digest[:8]}>"
    lines = module.source.splitlines(keepends=True)
    linecache.cache[file] = (len(module.source), None, lines, file)
    namespace = ModuleType(f"flowbook_module_{module.digest}", None)
    namespace.__file__ = module.origin or file
    sys.modules[namespace.__name__] = namespace
    try:
        exec(compile(module.source, file, "exec"), namespace.__dict__)
    except BaseException:
        del sys.modules[namespace.__name__]
        raise
    _pickle_by_value(namespace)
    _loaded[module.digest] = found = LoadedModule(module, namespace, file)
    return found


def offer(module: Module, workflows: dict[str, Workflow[..., object]], file: str) -> None:
    """Have workflows that live in this process stand for a module's digest: for tests."""
    namespace = ModuleType(f"flowbook_module_{module.digest}", None)
    vars(namespace).update(workflows)
    _loaded[module.digest] = LoadedModule(module, namespace, file)


def withdraw(digest: Digest) -> None:
    """Take back what was offered."""
    _loaded.pop(digest, None)


def _pickle_by_value(namespace: ModuleType) -> None:
    """Instances of classes in the module must load in processes that do not have it."""
    import cloudpickle

    cloudpickle.register_pickle_by_value(namespace)
