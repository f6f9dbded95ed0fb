"""The journal: a SQLite file in WAL mode where a committed group is one row. An event is true when it is here.

Rows stay after they were drained, up to ``KEPT`` bytes: a damaged database is rebuilt from them. Each has a checksum:
SQLite knows whether its log is whole, and not whether its file is.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path

import msgspec

from flowbook.core.ids import Digest, RunId, Seq
from flowbook.core.module import Module
from flowbook.errors import StoreError
from flowbook.store.base import Group, Stored, entry, stored_module
from flowbook.store.journal_log import found_wrong, log_of, was_in_use

KEPT = 64 * 1024 * 1024
_PRUNED_PER_COMMIT = 32

LOG = 16 * 1024 * 1024
"""Bytes of write-ahead log made beforehand and used again and again: a commit that does not have to make the log
file longer takes two thirds of the time."""

_PAGES, _PAGES_PRUNED = 2 * 4096, 3 * 4096
"""What a commit adds to the log besides its body, about; and what it adds where old rows go."""

_encode = msgspec.json.Encoder().encode


class _Row(msgspec.Struct):
    entries: list[tuple[str, Stored]] = []
    modules: list[Module] = []
    idle: dict[str, int] = {}
    forgotten: list[RunId] = []
    unused: list[Digest] = []


_decode_row = msgspec.json.Decoder(_Row).decode


class DamagedJournal(StoreError):
    """The journal file cannot be read; the store decides what follows."""


class Journal:
    """An open journal.

    ``position`` is that of the last committed group, ``first`` of the oldest one kept; ``unbroken`` is that of the
    oldest one after which none is missing. ``wrong`` says how the log was found damaged, "" for not at all; it was
    given to ``spare`` before anything was written into it.
    """

    def __init__(
        self,
        path: Path,
        kept: int = KEPT,
        maximum_pages: int = 0,
        spare: Callable[[Path], object] = lambda log: None,
    ) -> None:
        self._path = path
        self._kept = kept
        self._sizes: deque[tuple[int, int]] = deque()
        self._bytes = 0
        self._logged = 0
        self._fold_due = False
        self._spare = spare
        self.wrong = ""
        in_use = was_in_use(path)
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
            try:
                self._open(maximum_pages, in_use)
            except BaseException:
                self._connection.close()
                raise
        except (sqlite3.DatabaseError, UnicodeError) as error:
            # Damage in a name is no text, and that is what some versions of Python say of it.
            raise DamagedJournal(f"the journal {path} cannot be read ({error})") from error
        self.drained = 0

    def _open(self, maximum_pages: int, in_use: bool) -> None:
        run = self._connection.execute
        run("pragma journal_mode=wal")
        run("pragma synchronous=full")
        # Folding the log into the file happens in ``tidy``, in another thread, not in the way of an acknowledgement.
        run("pragma wal_autocheckpoint=0")
        self._look_at_log(in_use)
        if maximum_pages:
            run(f"pragma max_page_count={maximum_pages}")
        run(
            "create table if not exists journal("
            "position integer primary key, body blob not null, checksum integer not null)"
        )
        for position, size in run("select position, length(body) from journal order by position"):
            if not (isinstance(position, int) and isinstance(size, int)):
                raise DamagedJournal(f"the journal {self._path} cannot be read (group {position} has no body)")
            self._sizes.append((position, size))
            self._bytes += size
        self.position: int = self._sizes[-1][0] if self._sizes else 0
        self.unbroken = self.first
        for (before, _), (after, _) in pairwise(self._sizes):
            if after != before + 1:
                self.unbroken = after
        self._lengthen_log()
        self._mark_in_use()

    def _look_at_log(self, in_use: bool) -> None:
        """See whether SQLite has taken all of a log that was left behind."""
        run = self._connection.execute
        log = log_of(self._path)
        size = log.stat().st_size if log.exists() else 0
        run("select count(*) from sqlite_master").fetchone()
        with suppress(sqlite3.OperationalError):
            _, taken, _ = run("pragma wal_checkpoint(passive)").fetchone()
            self.wrong = found_wrong(log, taken) if size else ""
        if in_use and size < LOG:
            self.wrong = "it was cut off" if size else "it is gone"
        if self.wrong and log.exists():
            self._spare(log)

    def _mark_in_use(self) -> None:
        """Note in the file itself that there is a long log beside it, until it is closed in order."""
        with suppress(OSError, sqlite3.OperationalError):
            if log_of(self._path).stat().st_size >= LOG:
                self._connection.execute("pragma user_version=1")
                self._connection.execute("pragma wal_checkpoint(passive)")

    def _lengthen_log(self) -> None:
        """Write what is then taken back: the log keeps its length, the file stays as it is."""
        run = self._connection.execute
        run("pragma cache_size=16")
        run("begin immediate")
        try:
            run("create table filler(body blob)")
            run("insert into filler values (zeroblob(?))", (LOG,))
        except sqlite3.OperationalError:
            # A disk as full as that is told of when something is to be recorded.
            pass
        if self._connection.in_transaction:
            run("rollback")
        run("pragma cache_size=-2000")

    @property
    def first(self) -> int:
        """Position of the oldest group kept; one past the last when none is."""
        return self._sizes[0][0] if self._sizes else self.position + 1

    def start_after(self, position: int) -> None:
        """Count on from ``position``: for a new journal beside a database that has moved on."""
        self.position = max(self.position, position)

    def append(self, group: Group) -> int:
        """Commit a group as one row and return its position. One fsync."""
        body = _body(group)
        prune = self._prunable()
        position = self.position + 1
        try:
            if self._fold_due:
                self._fold_due = False
                self._connection.execute("pragma wal_checkpoint(restart)")
            if prune:
                self._connection.execute("begin immediate")
                self._connection.execute("delete from journal where position <= ?", (prune,))
            self._connection.execute(
                "insert into journal values (?, ?, ?)", (position, body, _checksum(position, body))
            )
            if prune:
                self._connection.execute("commit")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
            raise self._refusal(error) from error
        self.position = position
        self._logged += len(body) + _PAGES + (_PAGES_PRUNED if prune else 0)
        while self._sizes and self._sizes[0][0] <= prune:
            self._bytes -= self._sizes.popleft()[1]
        self._sizes.append((self.position, len(body)))
        self._bytes += len(body)
        return self.position

    def _prunable(self) -> int:
        """The position up to which rows may go now: drained, beyond what is kept, a few at a time."""
        last, excess = 0, self._bytes - self._kept
        for position, size in self._sizes:
            if excess <= 0 or position > self.drained or position >= self.first + _PRUNED_PER_COMMIT:
                break
            excess -= size
            last = position
        return last

    def read(self, after: int) -> Iterator[tuple[int, Group]]:
        """The groups after a position, oldest first. Raises ``DamagedJournal`` where one cannot be read."""
        position = after
        try:
            rows = self._connection.execute(
                "select position, body, checksum from journal where position > ? order by position", (after,)
            )
            for position, body, checksum in rows:
                if not isinstance(body, bytes) or _checksum(position, body) != checksum:
                    raise sqlite3.DatabaseError(f"group {position} is not what was written")
                yield position, _group(body)
        except (sqlite3.DatabaseError, msgspec.MsgspecError, ValueError) as error:
            raise DamagedJournal(f"the journal {self._path} cannot be read to its end ({error})") from error

    @property
    def log_is_long(self) -> bool:
        """True when ``tidy`` is due although there is no rest."""
        return self._logged > LOG // 2

    def tidy(self) -> None:
        """Fold the write-ahead log into the file, from any thread, without waiting for anybody.

        The little that is written meanwhile is folded by the next commit, which then begins the log anew. Without that
        a log that is always written to never begins anew: there is always a page that came after the folding began.
        """
        self._logged = 0
        try:
            with closing(sqlite3.connect(self._path, isolation_level=None, timeout=0.2)) as other:
                other.execute("pragma wal_checkpoint(passive)").fetchone()
            self._fold_due = True
        except sqlite3.OperationalError:
            # Full disk or a busy writer: the log stays longer, nothing else.
            return

    def close(self) -> None:
        """Let go of the file."""
        with suppress(sqlite3.Error):
            self._connection.execute("pragma user_version=0")
        self._connection.close()

    def _refusal(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorname", "")
        if code == "SQLITE_FULL":
            return StoreError(
                f"the disk that holds {self._path} is full, so nothing more can be recorded. What was acknowledged "
                "is safe and runs stand still until there is room again: free some space, nothing else is needed."
            )
        return StoreError(
            f"the journal {self._path} cannot be written ({error}). What was acknowledged is safe and runs stand "
            "still; the engine tries again every second. Look at the disk and at the access rights of the folder."
        )


def _checksum(position: int, body: bytes) -> int:
    return zlib.crc32(body, position & 0xFFFFFFFF)


def _body(group: Group) -> bytes:
    parts = [b'{"entries":[']
    run, head = None, b""
    for item in group.entries:
        if item.run is not run:
            run, head = item.run, b"[" + _encode(item.run) + b","
        parts.append(head)
        parts.append(item.record)
        parts.append(b"],")
    if group.entries:
        parts[-1] = b"]"
    parts.append(b"]")
    if group.modules:
        parts.append(b',"modules":[' + b",".join(module.body for module in group.modules) + b"]")
    if group.idle:
        parts.append(b',"idle":' + _encode(group.idle))
    if group.forgotten:
        parts.append(b',"forgotten":' + _encode(group.forgotten))
    if group.unused:
        parts.append(b',"unused":' + _encode(group.unused))
    parts.append(b"}")
    return b"".join(parts)


def _group(body: bytes) -> Group:
    row = _decode_row(body)
    group = Group()
    group.entries = [entry(RunId(run), recorded) for run, recorded in row.entries]
    group.modules = [stored_module(module) for module in row.modules]
    group.idle = {RunId(run): Seq(seq) for run, seq in row.idle.items()}
    group.forgotten, group.unused = row.forgotten, row.unused
    return group
