"""Whether a write-ahead log that a killed process left behind is whole. Reads SQLite's log file, never writes it.

SQLite takes a log up to the first frame whose checksum is wrong and is silent about what comes after it: to SQLite a
damaged log looks like one whose last write was cut off by a power cut. Where it is the last write, the two cannot be
told apart, and both are called damage.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import BinaryIO, Literal

_HEAD, _FRAME = 32, 24
_USER_VERSION = 60


def log_of(path: Path) -> Path:
    """The log beside a database."""
    return path.with_name(path.name + "-wal")


def was_in_use(path: Path) -> bool:
    """True when the database was not closed in order: its user version, which ``Journal`` sets, is 1."""
    try:
        with path.open("rb") as file:
            file.seek(_USER_VERSION)
            return file.read(4) == b"\0\0\0\1"
    except OSError:
        return False


def found_wrong(log: Path, taken: int) -> str:
    """What is wrong with a log of which SQLite took ``taken`` pages, or ""."""
    with log.open("rb") as file:
        return _after(file, taken)


def _after(file: BinaryIO, taken: int) -> str:
    head = file.read(_HEAD)
    if len(head) < _HEAD or not _is_head(head):
        return "its first bytes are damaged"
    page = int.from_bytes(head[8:12], "big")
    salts = head[16:24]
    for number in count(taken):
        file.seek(_HEAD + number * (_FRAME + page))
        frame = file.read(_FRAME)
        if len(frame) < _FRAME:
            return ""
        # An older use of the file had other salts; what was never committed has no size of the database in it.
        if frame[8:16] == salts and frame[4:8] != bytes(4):
            return f"it is damaged after page {taken}"
    return ""


def _is_head(head: bytes) -> bool:
    order: Literal["big", "little"] = "big" if head[3] & 1 else "little"
    first = second = 0
    for at in range(0, 24, 8):
        first = (first + int.from_bytes(head[at : at + 4], order) + second) & 0xFFFFFFFF
        second = (second + int.from_bytes(head[at + 4 : at + 8], order) + first) & 0xFFFFFFFF
    return head[:3] == b"\x37\x7f\x06" and head[24:32] == first.to_bytes(4, "big") + second.to_bytes(4, "big")
