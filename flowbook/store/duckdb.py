"""The DuckDB file: all history in bulk, and everything people query. One process may have it open.

The file must not be opened or copied by this process while DuckDB has it: closing any other handle of a file
drops the process's POSIX locks on it, and with them the protection from a second writer.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from flowbook.core.ids import RunId, Seq
from flowbook.errors import StoreError
from flowbook.store import duckdb_query
from flowbook.store.base import Entry, Group
from flowbook.store.duckdb_reading import CLOSING, Reader, first_line
from flowbook.store.duckdb_schema import NAMES, TABLES, VERSION, VIEWS

_SETTINGS = {
    "threads": "1",
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
_VIEWS_DIGEST = hashlib.blake2b("".join(VIEWS).encode(), digest_size=16).hexdigest()
_TYPES = dict.fromkeys(("run", "seq", "time", "kind", "step", "key", "attempt", "item", "body"), "varchar")
_TYPES |= {"seq": "integer", "time": "double", "attempt": "integer", "item": "integer"}
_COLUMNS = ", ".join(_TYPES)
_INSERT = "insert into kept.recorded select " + ", ".join(
    f"unnest(${number}::{kind}[])" for number, kind in enumerate(_TYPES.values(), 1)
)

MANY = 50_000
"""Rows after which they are handed to DuckDB as Arrow tables.

That takes a fifth of the time, but importing Arrow takes as much as this many rows do without it, and most engines
never see so many.
"""


class DamagedDatabase(StoreError):
    """DuckDB cannot read the file; the store decides what follows."""


class Database(Reader):
    """The open file. ``position`` is that of the last journal group in it. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.Lock()
        self._inserted = 0
        try:
            self._connection = duckdb.connect(str(path), config={**_SETTINGS, **duckdb_query.limits()})
            try:
                self._open()
            except BaseException:
                # As long as it is open, the next one to connect would be given it, and not the file put in its place.
                self._connection.close()
                raise
        except duckdb.Error as error:
            raise _explained(path, error) from error

    def _open(self) -> None:
        run = self._connection.execute
        # Views tell the time in UTC, so now() has to, wherever the machine is. It is no setting to connect with: DuckDB
        # would look for what knows time zones on the network, and has it within.
        run("set global timezone = 'UTC'")
        run("set timezone = 'UTC'")
        tables = {name for (name,) in run("select table_name from duckdb_tables()").fetchall()}
        if "progress" not in tables:
            self._create_tables()
            run("insert into kept.progress values (0, ?)", [VERSION])
            self._create_views()
        elif not self._shows(tables):
            self._create_tables()
            self._create_views()
        row = run("select position, version from kept.progress").fetchone()
        if row is None:
            raise DamagedDatabase(f"{self._path} has lost its journal position")
        if row[1] > VERSION:
            raise StoreError(f"{self._path} was written by a newer Flowbook. Upgrade this one; nothing was touched.")
        self.position: int = row[0]
        run(f"select count(*), sum(seq), sum(time) from kept.recorded where kind in ({CLOSING})").fetchone()
        run("set lock_configuration = true")

    def _create_tables(self) -> None:
        for statement in TABLES.strip().split(";\n"):
            self._connection.execute(statement)

    def _shows(self, tables: set[str]) -> bool:
        """True when the views in the file are those of this version."""
        run = self._connection.execute
        if "shown" not in tables or not set(NAMES) <= {
            name for (name,) in run("select view_name from duckdb_views()").fetchall()
        }:
            return False
        return run("select digest from kept.shown").fetchall() == [(_VIEWS_DIGEST,)]

    def _create_views(self) -> None:
        run = self._connection.execute
        run("delete from kept.shown")
        for view in VIEWS:
            run(view)
        run("insert into kept.shown values (?)", [_VIEWS_DIGEST])
        # DDL stays out of the log that a crash has to replay.
        run("checkpoint")

    def insert(self, groups: Sequence[Group], position: int) -> None:
        """Add groups in one transaction, together with the journal position they reach."""
        with self._writing:
            cursor = self._connection.cursor()
            try:
                cursor.execute("begin transaction")
                for part in _between_deletions(groups):
                    _delete(cursor, part[0])
                    self._add(cursor, part)
                cursor.execute("update kept.progress set position = ?", [position])
                cursor.execute("commit")
            except duckdb.Error as error:
                raise StoreError(f"{self._path} cannot be written ({first_line(error)}).") from error
            finally:
                # Closing rolls back what was not committed.
                cursor.close()
        self.position = position

    def _add(self, cursor: duckdb.DuckDBPyConnection, groups: Sequence[Group]) -> None:
        entries = [entry for group in groups for entry in group.entries]
        modules = {module.digest: module for group in groups for module in group.modules}
        idle: dict[RunId, Seq] = {}
        for group in groups:
            idle.update(group.idle)
        if entries:
            insert = _insert_in_bulk if self._inserted >= MANY else _insert
            insert(cursor, _columns(entries))
            self._inserted += len(entries)
        for module in modules.values():
            cursor.execute(
                "insert into kept.modules select $1, $2, $3 "
                "where not exists (select 1 from kept.modules where digest = $1)",
                [module.digest, module.name, module.body.decode()],
            )
        if idle:
            marks = [list(idle.keys()), list(idle.values())]
            cursor.execute("insert into kept.idle select unnest($1), unnest($2)", marks)

    def tidy(self) -> None:
        """Fold the log into the file and forget idle marks that newer ones replaced."""
        with self._writing:
            cursor = self._connection.cursor()
            try:
                cursor.execute(
                    "delete from kept.idle where (run, seq) not in (select (run, max(seq)) from kept.idle "
                    f"where run not in (select run from kept.recorded where kind in ({CLOSING})) group by run)"
                )
                cursor.execute("checkpoint")
            except duckdb.Error:
                # A reader is busy, or the disk is full: the log stays longer, nothing else.
                return
            finally:
                cursor.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def _between_deletions(groups: Sequence[Group]) -> list[list[Group]]:
    """The groups in order, cut before each that deletes: an id may be used again after that."""
    parts: list[list[Group]] = []
    for group in groups:
        if group.forgotten or group.unused or not parts:
            parts.append([])
        parts[-1].append(group)
    return parts


def _delete(cursor: duckdb.DuckDBPyConnection, group: Group) -> None:
    if group.forgotten:
        for table in ("recorded", "idle"):
            cursor.execute(f"delete from kept.{table} where run in (select unnest($1::varchar[]))", [group.forgotten])
    if group.unused:
        cursor.execute("delete from kept.modules where digest in (select unnest($1::varchar[]))", [group.unused])


def _columns(entries: Sequence[Entry]) -> dict[str, list[Any]]:
    events = [entry.recorded.event for entry in entries]
    return {
        "run": [entry.run for entry in entries],
        "seq": [entry.recorded.seq for entry in entries],
        "time": [entry.recorded.time for entry in entries],
        "kind": [type(event).__name__ for event in events],
        "step": [getattr(event, "step", None) for event in events],
        "key": [getattr(event, "key", None) for event in events],
        "attempt": [getattr(event, "attempt", None) for event in events],
        "item": [getattr(event, "item", None) for event in events],
        "body": [entry.body for entry in entries],
    }


def _insert(cursor: duckdb.DuckDBPyConnection, columns: dict[str, list[Any]]) -> None:
    columns["body"] = [body.decode() for body in columns["body"]]
    cursor.execute(_INSERT, list(columns.values()))


def _insert_in_bulk(cursor: duckdb.DuckDBPyConnection, columns: dict[str, list[Any]]) -> None:
    import pyarrow

    columns["body"] = pyarrow.array(columns["body"], pyarrow.binary()).cast(pyarrow.string())
    cursor.register("fresh", pyarrow.table([columns[name] for name in columns], schema=_schema()))
    cursor.execute(f"insert into kept.recorded select {_COLUMNS} from fresh")
    cursor.unregister("fresh")


def _schema() -> Any:
    import pyarrow

    kinds = {"varchar": pyarrow.string(), "integer": pyarrow.int32(), "double": pyarrow.float64()}
    return pyarrow.schema([(name, kinds[kind]) for name, kind in _TYPES.items()])


def _explained(path: Path, error: duckdb.Error) -> StoreError:
    text = str(error)
    if "set lock on file" in text.lower():
        holder = re.search(r"held in (.+?) \(PID (\d+)\)", text)
        who = f"process {holder[2]} ({holder[1]})" if holder else "another process"
        return StoreError(
            f"the history {path} is held by {who}. Close it there (a DuckDB shell, a notebook or a script that "
            "connected to the file) and try again; nothing was lost. To query the history use `flowbook sql`."
        )
    if isinstance(error, duckdb.PermissionException) or "permission denied" in text.lower():
        return StoreError(f"the history {path} cannot be opened: permission denied. Give yourself access to the file.")
    if "no space left" in text.lower():
        return StoreError(f"the disk that holds {path} is full. Free some space and try again; nothing was lost.")
    if "newer version of duckdb" in text.lower():
        return StoreError(
            f"the history {path} was written with a newer DuckDB than the {duckdb.__version__} that is installed here. "
            "Upgrade it (pip install -U duckdb), or use the environment that wrote it; nothing was touched."
        )
    return DamagedDatabase(f"the history {path} cannot be read ({first_line(error)})")
