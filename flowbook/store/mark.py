"""Whose code a worker runs at this moment, in a page of memory that outlives it.

The engine reads it when the worker is gone. Writing costs nothing and syncs nothing: the page belongs to the kernel,
so it survives a SIGKILL, and a power cut does not matter.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from pathlib import Path

SIZE = 4096


class Mark:
    """The worker's end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.ftruncate(handle, SIZE)
            self._page = mmap.mmap(handle, SIZE)
        finally:
            os.close(handle)

    def set(self, what: str) -> None:
        """From here on this is what runs; "" for nothing."""
        body = what.encode()[: SIZE - 2]
        self._page[0 : len(body) + 2] = len(body).to_bytes(2, "little") + body

    def remove(self) -> None:
        """The worker leaves in order."""
        with suppress(OSError):
            self._path.unlink()


def take(path: Path) -> str:
    """What a worker ran when it died; "" for nothing, or where nothing is known. The mark is gone afterwards."""
    try:
        page = path.read_bytes()
        path.unlink()
    except OSError:
        return ""
    return page[2 : 2 + int.from_bytes(page[:2], "little")].decode(errors="replace")
