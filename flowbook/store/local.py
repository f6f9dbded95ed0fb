"""The store on disk: journal in front, DuckDB behind, and how a damaged file is set aside and made again."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from flowbook.core.ids import Digest, RunId, Seq
from flowbook.errors import StoreError
from flowbook.store.base import ClosedRun, Group, RunSize, Stop, Table
from flowbook.store.duckdb import DamagedDatabase, Database
from flowbook.store.home import Home
from flowbook.store.journal import DamagedJournal, Journal
from flowbook.store.journal_log import log_of

BATCH = 20_000
"""Events drained in one transaction, about."""


class LocalStore:
    """See ``Store``. Opening it makes the database complete: the journal's tail is applied exactly once."""

    def __init__(self, home: Home, journal_pages: int = 0) -> None:
        self.notices: list[str] = []
        self._home = home
        self._pages = journal_pages
        self._pending: list[tuple[int, Group]] = []
        self._backlog = 0
        self._swap = threading.Lock()
        self._draining = threading.Lock()
        self._journal, tail = self._open_journal()
        try:
            self._database = self._open_database()
            if tail is None:
                tail = self._tail()
            self._journal.start_after(max([self._database.position, *(position for position, _ in tail)]))
            self._pending = [item for item in tail if item[0] > self._database.position]
            self._backlog = sum(group.size for _, group in self._pending)
            self._report_gaps()
            while self.drain():
                pass
        except BaseException:
            self._journal.close()
            raise

    # Opening and mending

    def _open_journal(self) -> tuple[Journal, list[tuple[int, Group]] | None]:
        path = self._home.journal
        log = log_of(path)
        if log.exists() and log.stat().st_size and not (path.exists() and path.stat().st_size):
            aside = self._set_aside(path, "journal")
            self.notices.append(
                f"the journal {path} is gone or empty, but its log is there. The log was moved to {aside}; what the "
                "database holds is complete up to its last drain, what was acknowledged after that is missing."
            )
            return Journal(path, maximum_pages=self._pages), []
        try:
            journal = Journal(path, maximum_pages=self._pages, spare=self._spare_log)
            if journal.wrong:
                self.notices.append(
                    f"the log {log} was damaged: {journal.wrong}. Up to there everything was taken over; what was "
                    f"acknowledged in the seconds before the damage may be missing. {self._home.quarantine} has "
                    "what is left of the log."
                )
            return journal, None
        except DamagedJournal as error:
            aside = self._set_aside(path, "journal")
            self.notices.append(
                f"{error}. It was moved to {aside}; what the database holds is complete up to its last drain, what "
                "was acknowledged in the second before the damage may be missing. That folder has all that is left."
            )
            return Journal(path, maximum_pages=self._pages), []

    def _spare_log(self, log: Path) -> None:
        shutil.copy2(log, self._aside("journal") / log.name)

    def _tail(self) -> list[tuple[int, Group]]:
        tail: list[tuple[int, Group]] = []
        try:
            tail.extend(self._journal.read(self._database.position))
        except DamagedJournal as error:
            self._journal.close()
            aside = self._set_aside(self._home.journal, "journal")
            self.notices.append(
                f"{error}. It was moved to {aside}; {len(tail)} groups after the database's last one were saved "
                "from it, and what came after them is missing."
            )
            self._journal = Journal(self._home.journal, maximum_pages=self._pages)
        return tail

    def _open_database(self) -> Database:
        path = self._home.database
        try:
            return Database(path)
        except DamagedDatabase as error:
            return self._mended(path, error)

    def _mended(self, path: Path, error: DamagedDatabase) -> Database:
        """The database without its damaged log, or made again from the journal, whichever is complete."""
        log = path.with_name(path.name + ".wal")
        aside = self._copy_aside(path, "database")
        if log.exists():
            log.unlink()
            try:
                database = Database(path)
                if database.position + 1 >= self._journal.unbroken:
                    self.notices.append(
                        f"{error}. Its log was damaged and was set aside in {aside}; "
                        "everything after it was taken from the journal, nothing is missing."
                    )
                    return database
                database.close()
            except DamagedDatabase:
                pass
            shutil.copy2(aside / log.name, log)
        if self._journal.unbroken > 1:
            raise StoreError(
                f"{error}. A copy is in {aside}. It cannot be made again, because the journal no longer goes back to "
                f"the first event. Put a backup of {path.name} in its place and start again; or, to begin with an "
                f"empty history, move {path.name} away. Nothing was deleted."
            ) from error
        for file in (path, log):
            file.unlink(missing_ok=True)
        self.notices.append(
            f"{error}. It was set aside in {aside} and made again from the journal; nothing is missing."
        )
        return Database(path)

    def _report_gaps(self) -> None:
        """What the journal does not have although the database has not seen it."""
        expected, missing = self._database.position + 1, []
        for position in [position for position, _ in self._pending] or [self._journal.first]:
            if position > expected:
                missing.append(f"{expected} to {position - 1}")
            expected = position + 1
        if missing:
            self.notices.append(
                f"the history {self._home.database} ends before the journal goes on: groups {', '.join(missing)} are "
                "missing. Runs that have lost events are not continued. Put a backup of the file in its place if there "
                "is one."
            )

    def _copy_aside(self, path: Path, what: str) -> Path:
        folder = self._aside(what)
        for file in _family(path):
            shutil.copy2(file, folder / file.name)
        return folder

    def _set_aside(self, path: Path, what: str) -> Path:
        folder = self._aside(what)
        for file in _family(path):
            shutil.move(file, folder / file.name)
        return folder

    def _aside(self, what: str) -> Path:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        folder = self._home.quarantine / f"{what}-{stamp}"
        number = 1
        while folder.exists():
            number += 1
            folder = self._home.quarantine / f"{what}-{stamp}-{number}"
        try:
            folder.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise StoreError(f"the damaged {what} could not be set aside in {folder} ({error}).") from error
        return folder

    # The store

    def commit(self, group: Group) -> None:
        """See ``Store``."""
        position = self._journal.append(group)
        with self._swap:
            self._pending.append((position, group))
            self._backlog += group.size

    def drain(self) -> bool:
        """See ``Store``."""
        with self._draining:
            with self._swap:
                size = count = 0
                while count < len(self._pending) and size < BATCH:
                    size += len(self._pending[count][1].entries)
                    count += 1
                batch = self._pending[:count]
            if not batch:
                return False
            self._database.insert([group for _, group in batch], batch[-1][0])
            with self._swap:
                del self._pending[:count]
                self._backlog -= sum(group.size for _, group in batch)
            self._journal.drained = batch[-1][0]
            if self._journal.log_is_long:
                self._journal.tidy()
            return True

    def backlog(self) -> int:
        """See ``Store``."""
        return self._backlog

    def history(self, run: RunId, after: int = 0, limit: int = 0) -> list[bytes]:
        """See ``Store``."""
        self._drain_all()
        return self._database.history(run, after, limit)

    def open_runs(self) -> Iterable[tuple[RunId, list[bytes]]]:
        """See ``Store``."""
        self._drain_all()
        return self._database.open_runs()

    def streams(self, prefix: str, since: str = "") -> Iterable[tuple[RunId, list[bytes]]]:
        """See ``Store``."""
        self._drain_all()
        return self._database.streams(prefix, since)

    def idle_runs(self) -> dict[RunId, Seq]:
        """See ``Store``."""
        self._drain_all()
        return self._database.idle_runs()

    def closed_ids(self) -> list[RunId]:
        """See ``Store``."""
        self._drain_all()
        return self._database.closed_ids()

    def continued_ids(self) -> list[RunId]:
        """See ``Store``."""
        self._drain_all()
        return self._database.continued_ids()

    def closed_runs(self, limit: int, status: str = "") -> list[ClosedRun]:
        """See ``Store``."""
        self._drain_all()
        return self._database.closed_runs(limit, status)

    def begun(self, since: float) -> list[tuple[str, float]]:
        """See ``Store``."""
        self._drain_all()
        return self._database.begun(since)

    def module(self, digest: Digest) -> bytes | None:
        """See ``Store``."""
        self._drain_all()
        return self._database.module(digest)

    def closed_sizes(self) -> list[RunSize]:
        """See ``Store``."""
        self._drain_all()
        return self._database.closed_sizes()

    def unused_modules(self) -> dict[Digest, int]:
        """See ``Store``."""
        self._drain_all()
        return self._database.unused_modules()

    def used_files(self) -> set[Digest]:
        """See ``Store``."""
        self._drain_all()
        return self._database.used_files()

    def latest_scheduled(self) -> list[bytes]:
        """See ``Store``."""
        self._drain_all()
        return self._database.latest_scheduled()

    def owing(self) -> set[RunId]:
        """See ``Store``."""
        self._drain_all()
        return self._database.owing()

    def ends(self, runs: Sequence[RunId]) -> list[ClosedRun]:
        """See ``Store``."""
        self._drain_all()
        return self._database.ends(runs)

    def query(self, sql: str, limit: int, stop: Stop) -> Table:
        """See ``Store``."""
        self._drain_all()
        return self._database.query(sql, limit, stop)

    def matching(self, conditions: Sequence[str], limit: int, stop: Stop) -> Table:
        """See ``Store``."""
        self._drain_all()
        return self._database.matching(conditions, limit, stop)

    def tidy(self) -> None:
        """See ``Store``."""
        self._database.tidy()
        self._journal.tidy()

    def close(self) -> None:
        """See ``Store``."""
        try:
            self._drain_all()
            self.tidy()
        finally:
            self._database.close()
            self._journal.close()

    def _drain_all(self) -> None:
        # What is committed meanwhile is for the next who asks: else a busy engine would keep this one for ever.
        goal = self._journal.position
        while self._database.position < goal and self.drain():
            pass


def _family(path: Path) -> list[Path]:
    """A database file and the logs that belong to it."""
    return [file for suffix in ("", ".wal", "-wal", "-shm") if (file := path.with_name(path.name + suffix)).exists()]
