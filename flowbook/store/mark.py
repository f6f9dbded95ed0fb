"""What a worker runs at this moment, in a page of memory that outlives it: whose code, and which steps.

The engine reads it when the worker is gone. Writing costs nothing and syncs nothing: the page belongs to the kernel,
so it survives a SIGKILL, and a power cut does not matter.
"""

from __future__ import annotations

import mmap
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from flowbook.core.ids import RunId
from flowbook.core.messages import Ran

SLOTS = 2048
"""Attempts that can be noted at once; the file takes no room on the disk for those that are not."""

_HEAD = 4096
_SLOT = 2048
_LENGTH = 2
_THREAD = 8
_BODY = _LENGTH + _THREAD
_USED = _HEAD - 8
_UNNOTED = _HEAD - 4


class _Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attempt; ``group`` is the process group of one that has processes of its own, else 0."""

    ran: Ran
    group: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Entry).decode


class Mark:
    """The worker's end. For its loop's thread, but for ``is_here``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._free = list(range(SLOTS - 1, -1, -1))
        self._used = self._unnoted = 0
        self._is_sealed = False
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.ftruncate(handle, _HEAD + SLOTS * _SLOT)
            self._page = mmap.mmap(handle, _HEAD + SLOTS * _SLOT)
        finally:
            os.close(handle)

    def set(self, what: str) -> None:
        """From here on this is whose code runs; "" for nobody's."""
        body = what.encode()[: _USED - _LENGTH]
        self._page[0 : len(body) + _LENGTH] = len(body).to_bytes(_LENGTH, "little") + body

    def begin(self, ran: Ran, group: int = 0) -> int:
        """An attempt runs from here on; what is given is for ``end``."""
        body = _encode(_Entry(ran, group))
        if not self._free or len(body) > _SLOT - _BODY:
            self._note_unnoted(1)
            return -1
        slot = self._free.pop()
        if slot >= self._used:
            self._used = slot + 1
            self._page[_USED : _USED + 4] = self._used.to_bytes(4, "little")
        at = _HEAD + slot * _SLOT
        self._page[at + _LENGTH : at + _BODY + len(body)] = threading.get_ident().to_bytes(_THREAD, "little") + body
        # The length comes last: without it the slot is empty.
        self._page[at : at + _LENGTH] = len(body).to_bytes(_LENGTH, "little")
        return slot

    def is_here(self, slot: int) -> None:
        """The attempt runs in the thread that calls this."""
        if slot >= 0:
            at = _HEAD + slot * _SLOT + _LENGTH
            self._page[at : at + _THREAD] = threading.get_ident().to_bytes(_THREAD, "little")

    def end(self, slot: int) -> None:
        """It runs no longer."""
        if slot < 0:
            self._note_unnoted(-1)
            return
        at = _HEAD + slot * _SLOT
        self._page[at : at + _LENGTH] = b"\0\0"
        self._free.append(slot)

    def seal(self) -> None:
        """The worker breaks down: what it runs now is what the engine is to find, whatever is noted later."""
        self._is_sealed = True
        self._page = mmap.mmap(-1, _HEAD + SLOTS * _SLOT)

    def remove(self) -> None:
        """The worker leaves in order."""
        if not self._is_sealed:
            with suppress(OSError):
                self._path.unlink()

    def _note_unnoted(self, more: int) -> None:
        self._unnoted += more
        self._page[_UNNOTED : _UNNOTED + 4] = self._unnoted.to_bytes(4, "little")


class Left(NamedTuple):
    """What a worker ran when it died.

    ``code`` is the run, or the module, whose code it was, "" for nobody's; ``ran`` are the attempts in its own process,
    None where that is not known; ``groups`` are those of the others.
    """

    code: str = ""
    ran: tuple[Ran, ...] | None = None
    groups: tuple[int, ...] = ()

    def of(self, run: RunId) -> tuple[Ran, ...] | None:
        """The attempts of one run."""
        return None if self.ran is None else tuple(ran for ran in self.ran if ran.run == run)


NOTHING_LEFT = Left()


def take(path: Path, crashed: int = 0) -> Left:
    """What a worker ran when it died, as far as it is known; only what ran in the thread that ``crashed``, where one
    did that ran something. The mark is gone afterwards.
    """
    try:
        with path.open("rb") as file:
            page = file.read(_HEAD)
            used = int.from_bytes(page[_USED : _USED + 4], "little")
            slots = file.read(used * _SLOT)
        path.unlink()
    except OSError:
        return NOTHING_LEFT
    code = page[_LENGTH : _LENGTH + _length(page)].decode(errors="replace")
    found: list[tuple[int, _Entry]] = []
    for at in range(0, len(slots), _SLOT):
        slot = slots[at : at + _SLOT]
        if _length(slot):
            try:
                entry = _decode(slot[_BODY : _BODY + _length(slot)])
            except msgspec.DecodeError:
                return Left(code)
            found.append((int.from_bytes(slot[_LENGTH:_BODY], "little"), entry))
    groups = tuple(entry.group for _, entry in found if entry.group)
    own = [(thread, entry.ran) for thread, entry in found if not entry.group]
    guilty = [(thread, ran) for thread, ran in own if thread == crashed]
    is_whole = len(page) == _HEAD and not int.from_bytes(page[_UNNOTED : _UNNOTED + 4], "little")
    return Left(code, tuple(ran for _, ran in guilty or own) if is_whole else None, groups)


def _length(page: bytes) -> int:
    return int.from_bytes(page[:_LENGTH], "little")
