"""Engines as processes: whether they run, whether they have left, and waiting for what has no event."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from flowbook.store.home import Home


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def eventually(holds: Callable[[], bool], within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def is_free(home: Path) -> bool:
    lock = Home(home).lock(Home(home).engine_lock)
    if lock is not None:
        lock.close()
    return lock is not None
