"""The DuckDB file: all history in bulk, and everything people query. One process may have it open.

The file must not be opened or copied by this process while DuckDB has it: closing any other handle of a file
drops the process's POSIX locks on it, and with them the protection from a second writer.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb

from flowbook.core.ids import Digest, RunId, Seq
from flowbook.errors import StoreError, UserError
from flowbook.store.base import CLOSED_STATUS, INTERNAL, ClosedRun, Entry, Group, RunSize, Table
from flowbook.store.duckdb_schema import NAMES, TABLES, VERSION, VIEWS

_READ_ONLY = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
_CLOSING = ", ".join(f"'{kind}'" for kind in CLOSED_STATUS)
_VIEWS_DIGEST = hashlib.blake2b("".join(VIEWS).encode(), digest_size=16).hexdigest()
_TYPES = dict.fromkeys(("run", "seq", "time", "kind", "step", "key", "attempt", "item", "body"), "varchar")
_TYPES |= {"seq": "integer", "time": "double", "attempt": "integer", "item": "integer"}
_COLUMNS = ", ".join(_TYPES)
_INSERT = "insert into recorded select " + ", ".join(
    f"unnest(${number}::{kind}[])" for number, kind in enumerate(_TYPES.values(), 1)
)

MANY = 50_000
"""Rows after which they are handed to DuckDB as Arrow tables. That takes a fifth of the time, but importing Arrow

takes as much as this many rows do without it, and most engines never see so many.
"""


class DamagedDatabase(StoreError):
    """DuckDB cannot read the file; the store decides what follows."""


class Database:
    """The open file. ``position`` is that of the last journal group in it. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.Lock()
        self._digests: set[str] | None = None
        self._inserted = 0
        try:
            self._connection = duckdb.connect(str(path), config={"threads": 1, "enable_external_access": "false"})
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
        tables = {name for (name,) in run("select table_name from duckdb_tables()").fetchall()}
        if "progress" not in tables:
            self._create_tables()
            run("insert into progress values (0, ?)", [VERSION])
            self._create_views()
        elif not self._shows(tables):
            self._create_tables()
            self._create_views()
        row = run("select position, version from progress").fetchone()
        if row is None:
            raise DamagedDatabase(f"{self._path} has lost its journal position")
        if row[1] > VERSION:
            raise StoreError(f"{self._path} was written by a newer Flowbook. Upgrade this one; nothing was touched.")
        self.position: int = row[0]
        run(f"select count(*), sum(seq), sum(time) from recorded where kind in ({_CLOSING})").fetchone()
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
        return run("select digest from shown").fetchall() == [(_VIEWS_DIGEST,)]

    def _create_views(self) -> None:
        run = self._connection.execute
        run("delete from shown")
        for view in VIEWS:
            run(view)
        run("insert into shown values (?)", [_VIEWS_DIGEST])
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
                cursor.execute("update progress set position = ?", [position])
                cursor.execute("commit")
            except duckdb.Error as error:
                raise StoreError(f"{self._path} cannot be written ({_first_line(error)}).") from error
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
                "insert into modules select $1, $2, $3 where not exists (select 1 from modules where digest = $1)",
                [module.digest, module.name, module.body.decode()],
            )
        if idle:
            cursor.execute("insert into idle select unnest($1), unnest($2)", [list(idle.keys()), list(idle.values())])

    def history(self, run: RunId, after: int, limit: int) -> list[bytes]:
        """See ``Store``."""
        clause = f" limit {int(limit)}" if limit else ""
        rows = self._rows(
            f"select seq, time, body from recorded where run = ? and seq > ? order by seq{clause}", [run, after]
        )
        return [_record(*row) for row in rows]

    def open_runs(self) -> Iterable[tuple[RunId, list[bytes]]]:
        """See ``Store``."""
        rows = self._rows(
            "select run, seq, time, body from recorded where run not in "
            f"(select run from recorded where kind in ({_CLOSING})) and not starts_with(run, ?) order by run, seq",
            [INTERNAL],
        )
        return _by_run(rows)

    def streams(self, prefix: str, since: str = "") -> Iterable[tuple[RunId, list[bytes]]]:
        """See ``Store``."""
        rows = self._rows(
            "with marks as (select run as marked, max(seq) as mark from recorded "
            "where starts_with(run, $1) and kind = $2 group by run) "
            "select run, seq, time, body from recorded left join marks on run = marked "
            "where starts_with(run, $1) and seq >= coalesce(mark, 0) order by run, seq",
            [prefix, since],
        )
        return _by_run(rows)

    def idle_runs(self) -> dict[RunId, Seq]:
        """See ``Store``."""
        rows = self._rows(
            "select run, max(seq) from idle where run not in "
            f"(select run from recorded where kind in ({_CLOSING})) group by run",
            [],
        )
        return {RunId(run): Seq(seq) for run, seq in rows}

    def closed_ids(self) -> list[RunId]:
        """See ``Store``."""
        return [RunId(run) for (run,) in self._rows(f"select run from recorded where kind in ({_CLOSING})", [])]

    def continued_ids(self) -> list[RunId]:
        """See ``Store``."""
        return [RunId(run) for (run,) in self._rows("select run from recorded where kind = 'RunContinued'", [])]

    def closed_runs(self, limit: int, status: str) -> list[ClosedRun]:
        """See ``Store``."""
        kinds = [kind for kind, name in CLOSED_STATUS.items() if not status or name == status]
        rows = self._rows(
            "with ends as (select run, seq, time, body from recorded where list_contains(?, kind) "
            f"order by time desc, rowid desc limit {int(limit)}) "
            "select ends.run, heads.seq, heads.time, heads.body, ends.seq, ends.time, ends.body "
            "from ends join recorded as heads on heads.run = ends.run and heads.kind = 'RunStarted' "
            "order by ends.time desc",
            [kinds],
        )
        return [ClosedRun(RunId(row[0]), _record(*row[1:4]), _record(*row[4:7])) for row in rows]

    def module(self, digest: Digest) -> bytes | None:
        """See ``Store``."""
        rows = self._rows("select body from modules where digest = ?", [digest])
        return rows[0][0].encode() if rows else None

    def closed_sizes(self) -> list[RunSize]:
        """See ``Store``."""
        rows = self._rows(
            "with sizes as (select run, count(*) as events, sum(strlen(body)) as size from recorded group by run) "
            "select ends.run, heads.body ->> '$.workflow', ends.kind, ends.time, events, size from recorded as ends "
            "join recorded as heads on heads.run = ends.run and heads.kind = 'RunStarted' "
            f"join sizes on sizes.run = ends.run where ends.kind in ({_CLOSING}) "
            "order by ends.time desc, ends.rowid desc",
            [],
        )
        return [RunSize(RunId(run), flow, CLOSED_STATUS[kind], *rest) for run, flow, kind, *rest in rows]

    def unused_modules(self) -> dict[Digest, int]:
        """See ``Store``."""
        rows = self._rows(
            "select digest, strlen(body) from modules where digest not in ("
            "select coalesce(body ->> '$.module', body ->> '$.spec.run.module', '') from recorded "
            "where kind in ('RunStarted', 'RunMoved') or starts_with(run, ?))",
            [INTERNAL],
        )
        return {Digest(digest): size for digest, size in rows}

    def used_files(self) -> set[Digest]:
        """See ``Store``."""
        # What only looks like a reference keeps a file as well, which does no harm.
        rows = self._rows(
            'select distinct unnest(regexp_extract_all(body, \'"file":"([0-9a-f]+)"\', 1)) from recorded '
            'where contains(body, \'"file":"\')',
            [],
        )
        return {Digest(digest) for (digest,) in rows}

    def query(self, sql: str, limit: int) -> Table:
        """See ``Store``."""
        try:
            _require_reading(sql)
            cursor = self._connection.cursor()
            try:
                cursor.execute("begin transaction read only")
                cursor.execute(sql)
                columns = [{"name": str(c[0]), "type": str(c[1])} for c in cursor.description or ()]
                rows = cursor.fetchmany(limit + 1)
            finally:
                cursor.close()
        except duckdb.Error as error:
            raise UserError(
                f"{error}\n\nThe views are {', '.join(NAMES)}; DESCRIBE events shows the columns."
            ) from error
        return Table(columns, [list(row) for row in rows[:limit]], len(rows) > limit)

    def tidy(self) -> None:
        """Fold the log into the file and forget idle marks that newer ones replaced."""
        with self._writing:
            cursor = self._connection.cursor()
            try:
                cursor.execute(
                    "delete from idle where (run, seq) not in (select (run, max(seq)) from idle where run not in "
                    f"(select run from recorded where kind in ({_CLOSING})) group by run)"
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

    def _rows(self, sql: str, parameters: list[Any]) -> list[Any]:
        cursor = self._connection.cursor()
        try:
            return cursor.execute(sql, parameters).fetchall()
        except duckdb.Error as error:
            raise StoreError(
                f"{self._path} cannot be read ({_first_line(error)}). What was acknowledged is in the journal beside "
                "it; stop the engine and start it again to have the file checked and mended."
            ) from error
        finally:
            cursor.close()


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
            cursor.execute(f"delete from {table} where run in (select unnest($1::varchar[]))", [group.forgotten])
    if group.unused:
        cursor.execute("delete from modules where digest in (select unnest($1::varchar[]))", [group.unused])


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
    cursor.execute(f"insert into recorded select {_COLUMNS} from fresh")
    cursor.unregister("fresh")


def _schema() -> Any:
    import pyarrow

    kinds = {"varchar": pyarrow.string(), "integer": pyarrow.int32(), "double": pyarrow.float64()}
    return pyarrow.schema([(name, kinds[kind]) for name, kind in _TYPES.items()])


def _by_run(rows: list[Any]) -> Iterable[tuple[RunId, list[bytes]]]:
    found: dict[RunId, list[bytes]] = {}
    for run, seq, time, body in rows:
        found.setdefault(run, []).append(_record(seq, time, body))
    return found.items()


def _record(seq: int, time: float, body: str) -> bytes:
    return b'{"seq":%d,"time":%s,"event":%s}' % (seq, repr(time).encode(), body.encode())


def _require_reading(sql: str) -> None:
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1:
        raise UserError(f"one statement at a time, please: this text holds {len(statements)}.")
    if statements[0].type not in _READ_ONLY:
        kind = str(statements[0].type).rsplit(".", 1)[-1]
        raise UserError(
            f"{kind} statements are not allowed: the history is read-only. "
            "Use SELECT, WITH, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN."
        )


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
    return DamagedDatabase(f"the history {path} cannot be read ({_first_line(error)})")


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]
