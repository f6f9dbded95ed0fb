"""Worker processes: how one is started, and how it ended, in words."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import anyio

from flowbook.core.events import Place
from flowbook.engine.places import Places
from flowbook.store.home import Home

_TAIL = 1500

WORKER_ENVIRONMENT = {"PYTHONHASHSEED": "0"}
"""The order of a set of texts must be the same in every worker: workflow code may go through one."""


class Child(Protocol):
    """A started process."""

    @property
    def pid(self) -> int:
        """Its id."""

    async def wait(self) -> int:
        """Its exit code, negative for a signal."""

    def terminate(self) -> None:
        """Ask it to leave."""

    def kill(self) -> None:
        """End it."""


Spawn = Callable[[Place, str], Awaitable[Child]]
"""Starts a worker of a place for a queue."""


def spawner(home: Home) -> Spawn:
    """Starts ``python -m flowbook.worker`` of a place, wherever that is now; its output in the project's log."""
    places = Places(home)

    async def spawn(place: Place, queue: str) -> Child:
        now = places.now(place)
        command = [now.python, "-P", "-m", "flowbook.worker", "--home", str(home.folder), "--queue", queue]
        if now != place:
            command += ["--stands-for", place.folder, place.python]
        with worker_log(home).open("ab") as log:
            return await anyio.open_process(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=now.folder,
                env={**os.environ, **WORKER_ENVIRONMENT},
                start_new_session=True,
            )

    return spawn


def worker_log(home: Home) -> Path:
    """Where workers' own output goes (that of steps is in the history)."""
    return home.logs / "workers.log"


def log_tail(home: Home, began: int) -> str:
    """What workers wrote after byte ``began``, its last lines."""
    try:
        with worker_log(home).open("rb") as file:
            file.seek(began)
            return file.read().decode(errors="replace").strip()[-_TAIL:]
    except OSError:
        return ""


def log_size(home: Home) -> int:
    """Bytes in the workers' log."""
    try:
        return worker_log(home).stat().st_size
    except OSError:
        return 0


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = ", perhaps out of memory" if name == "SIGKILL" else ""
    return f"killed, signal {-code} ({name}{hint})"


def is_alive(pid: int) -> bool:
    """True when a process with this id exists and has not ended; one that nobody has buried yet is dead."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """True where the system says so: a worker whose engine was killed may have nobody who waits for its end."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return status.rpartition(b")")[2].split()[:1] in ([b"Z"], [b"X"])
