"""What a worker that is gone has left behind: notes in the state folder, and processes of its steps."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import NamedTuple

import msgspec

from flowbook.core.ids import RunId
from flowbook.engine.processes import is_alive
from flowbook.store import mark, trace
from flowbook.store.home import Home

_NOTES = ("running-*", "trace-*", "blocked-*.json")


class Remains(NamedTuple):
    """``left`` is what it ran, ``place`` where its code stood, ``blamed`` the run it could not get away from."""

    left: mark.Left
    place: str
    blamed: RunId
    blame: str


def collect(home: Home, pid: int) -> Remains:
    """Read and delete what it has written."""
    text = trace.take(home.trace(pid))
    left = mark.take(home.running(pid), trace.crashed(text))
    path = home.blocked(pid)
    try:
        note = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        path.unlink()
    except (OSError, msgspec.DecodeError):
        note = {}
    return Remains(left, trace.place(text), RunId(note.get("run", "")), note.get("reason", ""))


def end_processes(left: mark.Left) -> None:
    """End the processes of its steps, with all that they have started."""
    for group in left.groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def forget_the_dead(home: Home) -> None:
    """Delete what workers that are no more have written."""
    for pattern in _NOTES:
        for path in home.folder.glob(pattern):
            pid = path.stem.rpartition("-")[2]
            if pid.isdigit() and not is_alive(int(pid)):
                path.unlink(missing_ok=True)
