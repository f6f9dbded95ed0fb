"""The store on disk: reopened, queried, full, held by others and damaged."""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flowbook.core.ids import RunId
from flowbook.errors import StoreError, UserError
from flowbook.store import journal as journal_files
from flowbook.store.base import Stop, decode_recorded
from flowbook.store.home import Home
from flowbook.store.journal import Journal
from flowbook.store.journal_log import log_of
from flowbook.store.local import LocalStore
from tests.store.conftest import events, group


def crash(store: LocalStore) -> None:
    """Let go of the files as a killed process would: nothing drained, nothing folded."""
    store._database.close()
    store._journal.close()


def seqs(store: LocalStore, run: str) -> list[int]:
    return [decode_recorded(record).seq for record in store.history(RunId(run))]


def test_what_was_acknowledged_is_there_after_a_crash_exactly_once(home: Home) -> None:
    for number in range(4):
        store = LocalStore(home)
        assert len(store.closed_ids()) == 2 * number
        store.commit(group(f"a{number}"))
        store.drain()
        store.commit(group(f"b{number}"))
        crash(store)
    store = LocalStore(home)
    assert sorted(store.closed_ids()) == sorted(f"{letter}{n}" for letter in "ab" for n in range(4))
    assert seqs(store, "b2") == [1, 2, 3, 4, 5, 6]
    assert store.notices == []
    store.close()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select id, workflow, name, status, events from runs", [["r", "flow", "nightly", "succeeded", 6]]),
        ("select folder from runs", [["/project"]]),
        ("select step, status, attempts, seconds > 0 from steps", [["load", "done", 1, True]]),
        ("select step, attempt, status, worker from attempts", [["load", 1, "done", "w"]]),
        ("select kind from events order by seq limit 1", [["RunStarted"]]),
        ("select label, status from timers", [["nap", "cancelled"]]),
        ("select name, status, value from signals", [["go", "received", "null"]]),
        ("select name, json from values where role = 'argument' order by name", [["a b", "null"], ["since", "null"]]),
        ("with x as (select 1 as one) select one from x", [[1]]),
    ],
)  # fmt: skip
def test_the_documented_views(home: Home, query: str, expected: list[list[object]]) -> None:
    store = LocalStore(home)
    store.commit(group("r"))
    assert store.query(query, 10, Stop()).rows == expected
    store.close()


def test_the_status_of_runs_in_sql(home: Home) -> None:
    store = LocalStore(home)
    store.commit(group("done"))
    store.commit(group("running", events("x", closed=False)[:2]))
    store.commit(group("waiting", [e for i, e in enumerate(events("x", closed=False)) if i in (0, 3)]))
    rows = store.query("select id, status from runs order by id", 10, Stop()).rows
    assert rows == [["done", "succeeded"], ["running", "running"], ["waiting", "waiting"]]
    store.close()


@pytest.mark.parametrize(
    "query",
    [
        "insert into kept.idle values ('a', 1)",
        "with x as (select 1) insert into kept.idle select 'a', 1",
        "explain analyze insert into kept.idle values ('a', 1)",
        "drop view runs",
        "copy events to 'out.csv'",
        "attach 'other.duckdb'",
        "set threads = 4",
        "pragma database_list",
        "install httpfs",
        "select 1; select 2",
        "",
        "select * from read_text('/etc/hostname')",
        "select * from 'data.csv'",
        "selec",
    ],
)
def test_sql_reads_and_nothing_else(home: Home, query: str) -> None:
    store = LocalStore(home)
    with pytest.raises(UserError):
        store.query(query, 10, Stop())
    assert store.query("select count(*) from kept.idle", 10, Stop()).rows == [[0]]
    store.close()


def test_a_query_says_when_there_is_more(home: Home) -> None:
    store = LocalStore(home)
    store.commit(group("r"))
    table = store.query("select seq from events order by seq", 2, Stop())
    assert table.rows == [[1], [2]] and table.more
    assert table.columns == [{"name": "seq", "type": "INTEGER"}]
    store.close()


def test_a_full_disk_refuses_a_commit_and_takes_the_next_one_that_fits(home: Home) -> None:
    store = LocalStore(home, journal_pages=64)
    stored = 0
    with pytest.raises(StoreError, match=r"full.*acknowledged is safe"):
        for number in range(1000):
            store.commit(group(f"r{number}"))
            stored += 1
    assert stored and len(store.closed_ids()) == stored
    store._journal._connection.execute("pragma max_page_count = 100000")
    store.commit(group("last"))
    assert len(store.closed_ids()) == stored + 1
    store.close()


@pytest.mark.slow
def test_a_file_held_by_another_process_names_it_and_loses_nothing(home: Home) -> None:
    store = LocalStore(home)
    store.commit(group("r"))
    crash(store)
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(home.database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match=rf"held by process {holder.pid} .*nothing was lost"):
            LocalStore(home)
        holder.stdin.close()
        holder.wait()
    store = LocalStore(home)
    assert seqs(store, "r") == [1, 2, 3, 4, 5, 6]
    store.close()


def test_a_file_of_a_newer_duckdb_is_no_damaged_one(home: Home) -> None:
    store = LocalStore(home)
    store.commit(group("r"))
    store.close()
    written = bytearray(home.database.read_bytes())
    # A checksum, four letters, the version of the format. The checksum is one of DuckDB's own for each eight bytes.
    checksum, word = struct.unpack("<QQ", written[:16])
    newer = struct.unpack("<Q", written[8:12] + struct.pack("<I", 99_999))[0]
    for value in (word, newer):
        checksum ^= value * 0xBF58476D1CE4E5B9 % 2**64
    written[:16] = struct.pack("<QQ", checksum, newer)
    home.database.write_bytes(written)
    with pytest.raises(StoreError, match=r"written with a newer DuckDB .*nothing was touched"):
        LocalStore(home)
    assert home.database.read_bytes() == written and not list(home.quarantine.glob("*"))


def _spoil(path: Path, how: str) -> None:
    data = path.read_bytes()
    spoilt = {
        "garbage": b"hello" * 2000,
        "truncated": data[: len(data) // 2],
        "empty": b"",
        "header": b"\xff" * 4096 + data[4096:],
    }
    path.write_bytes(spoilt[how])


@pytest.mark.parametrize("how", ["garbage", "truncated", "empty", "header"])
def test_a_damaged_database_is_set_aside_and_made_again(home: Home, how: str) -> None:
    store = LocalStore(home)
    store.commit(group("a"))
    store.close()
    _spoil(home.database, how)
    store = LocalStore(home)
    assert "nothing is missing" in store.notices[0]
    assert str(home.quarantine) in store.notices[0]
    assert len(list(home.quarantine.rglob("flowbook.duckdb"))) == 1
    assert seqs(store, "a") == [1, 2, 3, 4, 5, 6]
    store.commit(group("b"))
    store.close()
    store = LocalStore(home)
    assert sorted(store.closed_ids()) == ["a", "b"] and store.notices == []
    store.close()


def test_a_deleted_database_is_made_again(home: Home) -> None:
    store = LocalStore(home)
    store.commit(group("a"))
    store.close()
    home.database.unlink()
    store = LocalStore(home)
    assert store.closed_ids() == ["a"] and store.notices == []
    store.close()


def test_a_database_that_cannot_be_made_again_is_left_alone_and_named(home: Home) -> None:
    store = LocalStore(home)
    store.commit(group("a"))
    store.commit(group("b"))
    store._drain_all()
    store._journal._connection.execute("delete from journal where position = 1")
    store.close()
    _spoil(home.database, "garbage")
    spoilt = home.database.read_bytes()
    with pytest.raises(StoreError, match="Nothing was deleted"):
        LocalStore(home)
    assert home.database.read_bytes() == spoilt
    home.database.unlink()
    store = LocalStore(home)
    assert "are missing" in store.notices[0]
    assert store.closed_ids() == ["b"]
    store.close()


@pytest.mark.parametrize("how", ["garbage", "truncated", "header"])
def test_a_damaged_journal_is_set_aside_and_the_database_goes_on(home: Home, how: str) -> None:
    store = LocalStore(home)
    store.commit(group("a"))
    store.close()
    _spoil(home.journal, how)
    store = LocalStore(home)
    assert seqs(store, "a") == [1, 2, 3, 4, 5, 6]
    store.commit(group("b"))
    store.close()
    store = LocalStore(home)
    assert sorted(store.closed_ids()) == ["a", "b"]
    store.close()
    assert list(home.quarantine.rglob("journal.sqlite"))


def test_a_deleted_journal_is_begun_again(home: Home) -> None:
    store = LocalStore(home)
    for run in ("a", "b"):
        store.commit(group(run))
    store.close()
    home.journal.unlink()
    store = LocalStore(home)
    store.commit(group("c"))
    crash(store)
    store = LocalStore(home)
    assert sorted(store.closed_ids()) == ["a", "b", "c"]
    store.close()


def test_the_journal_keeps_what_is_not_drained_and_a_little_more(home: Home) -> None:
    journal = Journal(home.journal, kept=5000)
    for number in range(20):
        journal.append(group(f"r{number}"))
    assert journal.first == 1
    journal.drained = 20
    for number in range(20, 24):
        journal.append(group(f"r{number}"))
    assert 15 < journal.first <= 21
    assert [position for position, _ in journal.read(20)] == [21, 22, 23, 24]
    journal.close()


def test_who_reads_does_not_wait_for_what_is_committed_meanwhile(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(home)
    drain, drained = store.drain, 0

    def busy() -> bool:
        nonlocal drained
        drained += 1
        store.commit(group(f"later{drained}"))
        return drain()

    store.commit(group("r"))
    monkeypatch.setattr(store, "drain", busy)
    assert len(store.history(RunId("r"))) == 6
    assert drained <= 2
    monkeypatch.undo()
    store.close()


def test_the_log_of_a_journal_that_has_no_rest_begins_anew_all_the_same(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_files, "LOG", 512 * 1024)
    journal = Journal(home.journal, kept=256 * 1024)
    log = log_of(home.journal)
    made = group("a")

    def fold() -> None:
        while not has_ended.wait(0.01):
            journal.drained = journal.position
            if journal.log_is_long:
                journal.tidy()

    has_ended = threading.Event()
    folding = threading.Thread(target=fold)
    folding.start()
    try:
        while journal.position < 2000:
            journal.append(made)
    finally:
        has_ended.set()
        folding.join()
    written = 2000 * 3 * 4096
    assert log.stat().st_size < 8 * journal_files.LOG < written / 5
    journal.close()
