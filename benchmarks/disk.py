"""What this disk can do at all, measured in the same run: the figures that the others are compared with."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import duckdb

SECONDS = 1.0


def limits(folder: Path) -> dict[str, float]:
    """Durable writes a second: a bare append, a one-row commit, and grouped rows."""
    return {
        "append 4 KiB + fdatasync /s": appends(folder / "append"),
        "SQLite WAL FULL, 1 row a commit /s": rows(folder / "one.db", 1),
        "SQLite WAL FULL, 100 rows a commit, rows/s": rows(folder / "many.db", 100),
        "DuckDB, 1 row a commit /s": duckdb_rows(folder / "one.duckdb"),
    }


def appends(path: Path) -> float:
    """Appends of 4 KiB, each synced."""
    handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    page = b"x" * 4096
    count, end = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        os.write(handle, page)
        os.fdatasync(handle)
        count += 1
    os.close(handle)
    return count / SECONDS


def rows(path: Path, group: int) -> float:
    """Rows of 300 bytes, ``group`` of them a transaction."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("create table rows(id integer primary key, body blob)")
    body = b"x" * 300
    count, end = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        connection.execute("begin")
        connection.executemany("insert into rows(body) values (?)", [(body,)] * group)
        connection.execute("commit")
        count += group
    connection.close()
    return count / SECONDS


def duckdb_rows(path: Path) -> float:
    """One row of 300 bytes a transaction."""
    connection = duckdb.connect(str(path))
    connection.execute("create table rows(body varchar)")
    body = "x" * 300
    count, end = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        connection.execute("insert into rows values (?)", [body])
        count += 1
    connection.close()
    return count / SECONDS
