"""What is read from the DuckDB file: histories and what the engine needs to know of them, and what people ask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb

from flowbook.core.ids import Digest, RunId, Seq
from flowbook.errors import StoreError, UserError
from flowbook.store import duckdb_query
from flowbook.store.base import CLOSED_STATUS, INTERNAL, ClosedRun, RunSize, Stop, Table
from flowbook.store.duckdb_schema import NAMES

CLOSING = ", ".join(f"'{kind}'" for kind in CLOSED_STATUS)
_HEADS = "join kept.recorded as heads on heads.run = ends.run and heads.kind = 'RunStarted'"
_BOTH_ENDS = "ends.run, heads.seq, heads.time, heads.body, ends.seq, ends.time, ends.body"


class Reader:
    """Reads by cursors of its own, so that several threads may at once."""

    _path: Path
    _connection: duckdb.DuckDBPyConnection

    def history(self, run: RunId, after: int, limit: int) -> list[bytes]:
        """See ``Store``."""
        clause = f" limit {int(limit)}" if limit else ""
        rows = self._rows(
            f"select seq, time, body from kept.recorded where run = ? and seq > ? order by seq{clause}", [run, after]
        )
        return [_record(*row) for row in rows]

    def open_runs(self) -> Iterable[tuple[RunId, list[bytes]]]:
        """See ``Store``."""
        rows = self._rows(
            "select run, seq, time, body from kept.recorded where run not in "
            f"(select run from kept.recorded where kind in ({CLOSING})) and not starts_with(run, ?) order by run, seq",
            [INTERNAL],
        )
        return _by_run(rows)

    def streams(self, prefix: str, since: str = "") -> Iterable[tuple[RunId, list[bytes]]]:
        """See ``Store``."""
        rows = self._rows(
            "with marks as (select run as marked, max(seq) as mark from kept.recorded "
            "where starts_with(run, $1) and kind = $2 group by run) "
            "select run, seq, time, body from kept.recorded left join marks on run = marked "
            "where starts_with(run, $1) and seq >= coalesce(mark, 0) order by run, seq",
            [prefix, since],
        )
        return _by_run(rows)

    def idle_runs(self) -> dict[RunId, Seq]:
        """See ``Store``."""
        rows = self._rows(
            "select run, max(seq) from kept.idle where run not in "
            f"(select run from kept.recorded where kind in ({CLOSING})) group by run",
            [],
        )
        return {RunId(run): Seq(seq) for run, seq in rows}

    def closed_ids(self) -> list[RunId]:
        """See ``Store``."""
        return [RunId(run) for (run,) in self._rows(f"select run from kept.recorded where kind in ({CLOSING})", [])]

    def continued_ids(self) -> list[RunId]:
        """See ``Store``."""
        return [RunId(run) for (run,) in self._rows("select run from kept.recorded where kind = 'RunContinued'", [])]

    def closed_runs(self, limit: int, status: str) -> list[ClosedRun]:
        """See ``Store``."""
        kinds = [kind for kind, name in CLOSED_STATUS.items() if not status or name == status]
        rows = self._rows(
            "with ends as (select run, seq, time, body from kept.recorded where list_contains(?, kind) "
            f"order by time desc, rowid desc limit {int(limit)}) "
            f"select {_BOTH_ENDS} from ends {_HEADS} order by ends.time desc",
            [kinds],
        )
        return [_closed(row) for row in rows]

    def begun(self, since: float) -> list[tuple[str, float]]:
        """See ``Store``."""
        rows = self._rows(
            "select put.body ->> '$.queue', began.time from kept.recorded as began "
            "join kept.recorded as put on put.run = began.run and put.key = began.key "
            "where began.kind = 'StepStarted' and began.time >= ? and put.kind = 'StepScheduled' order by began.time",
            [since],
        )
        return [(queue, time) for queue, time in rows]

    def ends(self, runs: Sequence[RunId]) -> list[ClosedRun]:
        """See ``Store``."""
        rows = self._rows(
            f"select {_BOTH_ENDS} from kept.recorded as ends {_HEADS} "
            f"where ends.kind in ({CLOSING}) and ends.run in (select unnest($1::varchar[]))",
            [list(runs)],
        )
        return [_closed(row) for row in rows]

    def module(self, digest: Digest) -> bytes | None:
        """See ``Store``."""
        rows = self._rows("select body from kept.modules where digest = ?", [digest])
        return rows[0][0].encode() if rows else None

    def closed_sizes(self) -> list[RunSize]:
        """See ``Store``."""
        rows = self._rows(
            "with sizes as (select run, count(*) as events, sum(strlen(body)) as size from kept.recorded group by run) "
            "select ends.run, heads.body ->> '$.workflow', ends.kind, ends.time, events, size "
            f"from kept.recorded as ends {_HEADS} "
            f"join sizes on sizes.run = ends.run where ends.kind in ({CLOSING}) "
            "order by ends.time desc, ends.rowid desc",
            [],
        )
        return [RunSize(RunId(run), flow, CLOSED_STATUS[kind], *rest) for run, flow, kind, *rest in rows]

    def latest_scheduled(self) -> list[bytes]:
        """See ``Store``."""
        rows = self._rows(
            "select seq, time, body from kept.recorded where rowid in "
            "(select max(rowid) from kept.recorded where kind = 'StepScheduled' group by step) order by rowid",
            [],
        )
        return [_record(*row) for row in rows]

    def owing(self) -> set[RunId]:
        """See ``Store``."""
        rows = self._rows(
            "select distinct run from kept.recorded as opened where kind = 'ObligationOpened' and not exists "
            "(select 1 from kept.recorded as settled where settled.run = opened.run and settled.key = opened.key "
            "and settled.kind = 'ObligationSettled')",
            [],
        )
        return {RunId(run) for (run,) in rows}

    def unused_modules(self) -> dict[Digest, int]:
        """See ``Store``."""
        rows = self._rows(
            "select digest, strlen(body) from kept.modules where digest not in ("
            "select coalesce(body ->> '$.module', body ->> '$.spec.run.module', '') from kept.recorded "
            "where kind in ('RunStarted', 'RunMoved') or starts_with(run, ?))",
            [INTERNAL],
        )
        return {Digest(digest): size for digest, size in rows}

    def used_files(self) -> set[Digest]:
        """See ``Store``."""
        # What only looks like a reference keeps a file as well, which does no harm.
        rows = self._rows(
            'select distinct unnest(regexp_extract_all(body, \'"file":"([0-9a-f]+)"\', 1)) from kept.recorded '
            'where contains(body, \'"file":"\')',
            [],
        )
        return {Digest(digest) for (digest,) in rows}

    def query(self, sql: str, limit: int, stop: Stop) -> Table:
        """See ``Store``."""
        cursor = self._connection.cursor()
        try:
            with stop.of(cursor.interrupt):
                return duckdb_query.answer(cursor, sql, limit, stop)
        except duckdb.InterruptException:
            raise duckdb_query.ended(stop) from None
        except duckdb.OutOfMemoryException as error:
            raise UserError(
                f"the query needs more memory than a query may have ({first_line(error)}). Ask about fewer runs or "
                "columns at once."
            ) from error
        except duckdb.Error as error:
            raise UserError(
                f"{error}\n\nThe views are {', '.join(NAMES)}; DESCRIBE events shows the columns."
            ) from error
        finally:
            cursor.close()

    def matching(self, conditions: Sequence[str], limit: int, stop: Stop) -> Table:
        """See ``Store``."""
        try:
            query = duckdb_query.matching(conditions)
        except duckdb.Error as error:
            raise UserError(str(error)) from error
        return self.query(query, limit, stop)

    def _rows(self, sql: str, parameters: list[Any]) -> list[Any]:
        cursor = self._connection.cursor()
        try:
            return cursor.execute(sql, parameters).fetchall()
        except duckdb.Error as error:
            raise StoreError(
                f"{self._path} cannot be read ({first_line(error)}). What was acknowledged is in the journal beside "
                "it; stop the engine and start it again to have the file checked and mended."
            ) from error
        finally:
            cursor.close()


def _closed(row: Sequence[Any]) -> ClosedRun:
    return ClosedRun(RunId(row[0]), _record(*row[1:4]), _record(*row[4:7]))


def _by_run(rows: list[Any]) -> Iterable[tuple[RunId, list[bytes]]]:
    found: dict[RunId, list[bytes]] = {}
    for run, seq, time, body in rows:
        found.setdefault(run, []).append(_record(seq, time, body))
    return found.items()


def _record(seq: int, time: float, body: str) -> bytes:
    return b'{"seq":%d,"time":%s,"event":%s}' % (seq, repr(time).encode(), body.encode())


def first_line(error: Exception) -> str:
    """What DuckDB says, without the place in its source."""
    return str(error).split("\n", 1)[0]
