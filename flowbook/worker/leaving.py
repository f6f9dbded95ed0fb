"""How a process that has run steps ends: at once, wherever their threads are."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from contextlib import suppress

EXIT_WITHIN = 3.0
"""Seconds for what is registered with ``atexit``: ``multiprocessing`` waits there for processes that a step started."""


def leave(code: int) -> None:
    """End this process without waiting for threads, which may be inside a call that never returns."""
    limit = threading.Timer(EXIT_WITHIN, os._exit, (code,))
    limit.daemon = True
    limit.start()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
