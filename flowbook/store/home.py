"""The state folder ``.flowbook`` and what lies where in it. No policy: who may do what is decided elsewhere."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from flowbook.errors import StoreError

LONGEST_SOCKET_PATH = 100
"""Unix socket addresses end at 108 bytes on Linux and 104 on macOS."""


class Home:
    """Paths in one state folder."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.database = self.folder / "flowbook.duckdb"
        self.journal = self.folder / "journal.sqlite"
        self.values = self.folder / "values"
        self.logs = self.folder / "logs"
        self.engine_log = self.logs / "engine.log"
        self.quarantine = self.folder / "quarantine"
        self.token = self.folder / "token"
        self.address = self.folder / "engine.json"
        self.workers = self.folder / "workers.json"
        self.folders = self.folder / "folders.json"
        self.engine_lock = self.folder / "engine.lock"
        self.launch_lock = self.folder / "launch.lock"

    @property
    def socket(self) -> Path:
        """The engine's socket: in the folder, or in a private temporary folder where that path is too long."""
        usual = self.folder / "engine.sock"
        if len(os.fsencode(usual)) <= LONGEST_SOCKET_PATH:
            return usual
        mark = hashlib.blake2b(os.fsencode(self.folder), digest_size=8).hexdigest()
        return Path(tempfile.gettempdir()) / f"flowbook-{os.getuid()}" / f"{mark}.sock"

    def running(self, pid: int) -> Path:
        """Where a worker says what it runs (see ``store.mark``)."""
        return self.folder / f"running-{pid}"

    def trace(self, pid: int) -> Path:
        """Where Python says where a worker's code stands when it crashes or hangs (see ``store.trace``)."""
        return self.folder / f"trace-{pid}"

    def blocked(self, pid: int) -> Path:
        """Where a worker that had to leave because of a run's code says which and why."""
        return self.folder / f"blocked-{pid}.json"

    def create(self) -> None:
        """Make the folder, private to its owner. Raises ``StoreError`` where that cannot be."""
        try:
            for folder in (self.folder, self.logs, self.values, self.socket.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.folder, self.socket.parent):
                _require_own(folder)
                folder.chmod(0o700)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise StoreError(
                f"the state folder {self.folder} cannot be written ({error.strerror or error}). "
                "Give yourself write access to it, or set FLOWBOOK_HOME to a folder that you can write."
            ) from error

    def lock(self, path: Path, wait: bool = False) -> BinaryIO | None:
        """Take the lock file until it is closed or this process ends; None when somebody else has it.

        The kernel drops the lock with the process, so one that survives a power cut locks nobody out.
        """
        handle = path.open("a+b")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            handle.close()
            return None
        return handle


def _require_own(folder: Path) -> None:
    if folder.stat().st_uid != os.getuid():
        raise StoreError(
            f"the folder {folder} belongs to another user, so Flowbook does not use it. "
            "Remove it, or set FLOWBOOK_HOME to a folder of your own."
        )


def write_private(path: Path, content: bytes) -> None:
    """Replace a file that only its owner may read."""
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(draft, path)
