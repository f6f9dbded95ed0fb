"""Find a project's engine, or start it. Blocking, plain functions; workers use them too."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from flowbook.errors import EngineUnavailable
from flowbook.store.home import Home

_ROOTS = ("pyproject.toml", ".git")
_LOG_TAIL = 2000

ATTEMPTS = 3
"""How often a client looks for the engine, or starts one, before it says that it cannot be reached."""


class Address(msgspec.Struct, frozen=True):
    """Where an engine listens, and the token it wants to see first."""

    socket: str
    token: str
    pid: int


class _Advertised(msgspec.Struct):
    socket: str
    pid: int
    home: str


def find_home(folder: Path | None = None) -> Path:
    """The state folder for ``folder`` (the current one by default).

    ``FLOWBOOK_HOME`` wins; else ``.flowbook`` beside the nearest ``pyproject.toml`` or ``.git``, else in the folder.
    """
    named = os.environ.get("FLOWBOOK_HOME")
    if named:
        return Path(named).expanduser().absolute()
    start = (folder or Path.cwd()).absolute()
    for candidate in (start, *start.parents):
        if any((candidate / root).exists() for root in _ROOTS):
            return candidate / ".flowbook"
    return start / ".flowbook"


def read_address(home: Path) -> Address | None:
    """What the folder says about its engine, running or not; None when there never was one.

    In a copy of a folder it names the engine of the original, which is none of the copy's.
    """
    paths = Home(home)
    try:
        advertised = msgspec.json.decode(paths.address.read_bytes(), type=_Advertised)
        token = paths.token.read_text().strip()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    try:
        is_of_this_folder = os.path.samefile(advertised.home, home)
    except OSError:
        is_of_this_folder = False
    return Address(advertised.socket, token, advertised.pid) if is_of_this_folder else None


def open_socket(address: Address, timeout: float | None = 5.0) -> socket.socket:
    """A connection to the engine, nothing sent yet. Raises ``OSError`` when nobody listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(address.socket)
        connection.settimeout(None)
    except BaseException:
        connection.close()
        raise
    return connection


def running_engine(home: Path) -> Address | None:
    """The address of an engine that accepts connections now, or None."""
    address = read_address(home)
    if address is None:
        return None
    try:
        open_socket(address).close()
    except OSError:
        return None
    return address


def ensure_engine(home: Path, timeout: float = 20.0) -> Address:
    """The address of the folder's engine, started if need be. Raises ``EngineUnavailable`` saying why not."""
    found = running_engine(home)
    if found is not None:
        return found
    paths = Home(home)
    paths.create()
    deadline = time.monotonic() + timeout
    # Whoever comes second waits here, and then finds the engine that the first one started.
    lock = paths.lock(paths.launch_lock, wait=True)
    try:
        found = running_engine(home)
        return found if found is not None else _start(paths, deadline, timeout)
    finally:
        if lock is not None:
            lock.close()


def has_ended(home: Path, pid: int) -> bool:
    """True when the engine with this process id serves the folder no longer: its lock is free, or another's."""
    paths = Home(home)
    lock = paths.lock(paths.engine_lock)
    if lock is not None:
        lock.close()
        return True
    try:
        return paths.engine_lock.read_text().strip() not in ("", str(pid))
    except OSError:
        return True


def _start(paths: Home, deadline: float, timeout: float) -> Address:
    while True:
        began = paths.engine_log.stat().st_size if paths.engine_log.exists() else 0
        process = _spawn(paths)
        while time.monotonic() < deadline:
            found = running_engine(paths.folder)
            if found is not None:
                # Reaping it is nobody's business here: it outlives this process.
                process.returncode = 0
                return found
            if process.poll() is not None:
                break
            time.sleep(0.01)
        else:
            process.kill()
            process.wait()
            raise EngineUnavailable(_why(paths.engine_log, began, f"the engine did not answer within {timeout:g} s"))
        why = _why(paths.engine_log, began, f"the engine could not start (exit code {process.returncode})")
        # One that is just ending still holds the folder; its successor has to wait for it.
        if "another engine" not in why or time.monotonic() > deadline:
            raise EngineUnavailable(why)
        time.sleep(0.2)


def _spawn(paths: Home) -> subprocess.Popen[bytes]:
    with paths.engine_log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "flowbook.engine", "--home", str(paths.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=paths.folder,
            start_new_session=True,
        )


def _why(log: Path, began: int, what: str) -> str:
    try:
        with log.open("rb") as file:
            file.seek(began)
            text = file.read().decode(errors="replace").strip()
    except OSError:
        text = ""
    marked = [line.partition("cannot start: ")[2] for line in text.splitlines() if "cannot start: " in line]
    if marked:
        return f"{what}: {marked[-1]}"
    if not text:
        return f"{what} and wrote nothing. Its log is {log}."
    return f"{what}. The end of its log, {log}:\n{text[-_LOG_TAIL:]}"
