"""The one client of this process for each state folder, and what only a front door may draw: ids, and the place."""

from __future__ import annotations

import os
import re
import secrets
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbook.core.events import Place
from flowbook.core.value import Value, shown, untagged
from flowbook.errors import NotDeterministic
from flowbook.runtime import current
from flowbook.wire.classes import IMPORTABLE, Classes

if TYPE_CHECKING:
    from flowbook.client import Client
    from flowbook.core.module import Module

_lock = threading.Lock()
_clients: dict[tuple[Path, int], Client] = {}


class Connection:
    """A project: its engine, reached through ``client``, and its saved values."""

    def __init__(self, client: Client, classes: Classes = IMPORTABLE) -> None:
        from flowbook.store.values import ValueFiles

        self.client = client
        self._classes = classes
        self._files = ValueFiles(client.home)

    def of(self, module: Callable[[], Module]) -> Connection:
        """The same, for values of a run that pins this module: their classes are those of this process."""
        from flowbook.api.classes import OfRun

        return Connection(self.client, OfRun(module))

    def encode(self, value: object, name: str) -> Value:
        """``value`` as it travels. Raises UnsavableValue naming it."""
        from flowbook.wire import codec

        return codec.encode(value, self._files.save, name, self._classes)

    def decode(self, value: Value) -> Any:
        """The Python value; pickles are loaded, because this is their owner's process."""
        from flowbook.wire import codec

        return codec.decode(value, self._files.load, classes=self._classes)

    def plain(self, value: Value) -> Any:
        """The value as JSON can show it: itself, or ``{"$type", "preview"}``. Loads no pickle."""
        import msgspec

        if value.codec != "json":
            return shown(value)
        body = self._files.load(value.file) if value.file else bytes(value.data)
        found = msgspec.json.decode(body)
        return untagged(found) if value.type else found


def connect(start: bool = True) -> Connection:
    """The connection for the current folder. Nothing is sent yet, and no engine started before the first call."""
    from flowbook.client import Client
    from flowbook.client.launch import find_home

    if current.execution() is not None:
        raise NotDeterministic(
            "workflow code asks the engine nothing about runs, queues or tables: the answer would be another one when "
            "it is re-executed. Have a step ask"
        )
    # A forked process must not share its parent's socket.
    key = find_home(), os.getpid()
    with _lock:
        if not start:
            return Connection(Client(key[0], start=False))
        if key not in _clients:
            _clients[key] = Client(key[0])
        return Connection(_clients[key])


def new_id(workflow: str) -> str:
    """A run's id: readable, and not met before."""
    return f"{re.sub(r'[^A-Za-z0-9_]+', '-', workflow).strip('-') or 'run'}-{secrets.token_hex(4)}"


def new_mark() -> str:
    """An id for something that is sent to a run, so that it happens once, even where it is sent again."""
    return secrets.token_hex(8)


@lru_cache(maxsize=16)
def _place(folder: str, python: str) -> Place:
    return Place(folder, python)


def here(folder: Path | None = None) -> Place:
    """Where a run started now runs its code: this folder, this interpreter."""
    return _place(str(folder or Path.cwd()), sys.executable)
