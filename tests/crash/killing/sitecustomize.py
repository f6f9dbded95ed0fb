"""Put on PYTHONPATH by a test: the first process that reaches a named point dies there, by SIGKILL.

``FLOWBOOK_TEST_KILL`` is ``module:Class.method:before|after:n:flag``: the n-th call in a process; the file ``flag`` is
made first, so that it happens once.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

MODULE, NAME, WHEN, NUMBER, FLAG = os.environ["FLOWBOOK_TEST_KILL"].split(":", 4)


def _die() -> None:
    try:
        os.close(os.open(FLAG, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _armed(function: Callable[..., Any]) -> Callable[..., Any]:
    calls = 0

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == int(NUMBER) and WHEN == "before":
            _die()
        result = function(*args, **kwargs)
        if calls == int(NUMBER) and WHEN == "after":
            _die()
        return result

    return call


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        owner, _, name = NAME.rpartition(".")
        holder = getattr(module, owner) if owner else module
        setattr(holder, name, _armed(getattr(holder, name)))


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            spec.loader = _Loader(spec.loader)
        return spec


sys.meta_path.insert(0, _Finder())
