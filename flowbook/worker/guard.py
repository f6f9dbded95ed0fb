"""What workflow code must not do by itself: files, network, processes, threads, blocking. Each is refused with what to
do instead.

Python tells of such things by audit events, whoever causes them: a line of the workflow, or a library that it calls.
What Flowbook does for a workflow (saving a value, importing a module, reading a line of source for a traceback) is no
such thing.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from types import FrameType
from typing import Any

from flowbook.errors import NotDeterministic
from flowbook.runtime import sites
from flowbook.runtime.loop import DeterministicLoop

_FILES = "do it in a step, or record() something small"
_NETWORK = "do network IO in a step"
_PROCESS = "start processes in a step"

_REFUSED = {
    "builtins.input": "wait for a person with signal()",
    **dict.fromkeys(
        (
            "open",
            "os.listdir",
            "os.scandir",
            "os.remove",
            "os.rename",
            "os.mkdir",
            "os.rmdir",
            "os.truncate",
            "os.link",
            "os.symlink",
            "os.chmod",
            "shutil.copyfile",
            "shutil.move",
            "shutil.rmtree",
            "tempfile.mkstemp",
            "tempfile.mkdtemp",
            "sqlite3.connect",
        ),
        _FILES,
    ),
    **dict.fromkeys(
        (
            "socket.connect",
            "socket.bind",
            "socket.sendto",
            "socket.getaddrinfo",
            "socket.gethostbyname",
            "socket.gethostname",
            "urllib.Request",
            "http.client.connect",
            "ftplib.connect",
            "smtplib.connect",
            "webbrowser.open",
        ),
        _NETWORK,
    ),
    **dict.fromkeys(
        ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.kill"),
        _PROCESS,
    ),
}
"""Audit events, and what to do instead."""

_ALLOWED = ("<frozen importlib", "linecache.py", "zoneinfo/", "tokenize.py", "warnings.py", "gettext.py", "locale.py")
"""Code of the standard library that reads files of Python itself, whatever makes it do so."""

_PYTHON = tuple({sys.prefix, sys.base_prefix, sys.exec_prefix, "/usr/share/zoneinfo", "/usr/share/locale"})
_OURS = os.path.dirname(sites.__file__).rpartition("/")[0] + "/"


def install() -> None:
    """Watch this process, once and for good."""
    if getattr(threading.Thread.start, "__wrapped__", None) is not None:
        return
    _watch_threads()
    sys.addaudithook(_look)


def _look(event: str, args: tuple[Any, ...]) -> None:
    if event in _REFUSED and type(asyncio._get_running_loop()) is DeterministicLoop:
        if event in ("open", "os.listdir", "os.scandir") and _is_pythons_own(args):
            return
        if not _is_ours(sys._getframe(1)):
            raise NotDeterministic(f"{_named(event, args)} cannot be re-executed inside a workflow; {_REFUSED[event]}")


def _is_pythons_own(args: tuple[Any, ...]) -> bool:
    """True for reading what belongs to Python or an installed package: it is there again next time."""
    path, mode = args[0], args[1] if len(args) > 1 else "r"
    reading = mode is None or not set(str(mode)) & set("wax+")
    return reading and isinstance(path, str) and path.startswith(_PYTHON)


def _is_ours(frame: FrameType | None) -> bool:
    """True where Flowbook or Python's import does it, on behalf of the code that is further out."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_OURS) or any(allowed in file for allowed in _ALLOWED):
            return True
        if not sites.is_library(frame.f_code) and "/site-packages/" not in file:
            return False
        frame = frame.f_back
    return True


def _named(event: str, args: tuple[Any, ...]) -> str:
    if event == "open":
        return f"open({args[0]!r})"
    return f"{event}()"


def _watch_threads() -> None:
    theirs = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if type(asyncio._get_running_loop()) is DeterministicLoop and not _is_ours(sys._getframe(1)):
            raise NotDeterministic(
                "threading.Thread.start() cannot be re-executed inside a workflow; "
                "write 'await asyncio.to_thread(function)', which runs it as a step"
            )
        theirs(thread)

    start.__wrapped__ = theirs  # type: ignore[attr-defined]
    threading.Thread.start = start  # type: ignore[method-assign,assignment]
