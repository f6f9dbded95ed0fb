"""What people ask in SQL: in UTC, ended when somebody says so, within bounds, and never more than what was asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from flowbook.errors import UserError
from flowbook.store import duckdb_query
from flowbook.store.base import Stop
from flowbook.store.home import Home
from flowbook.store.local import LocalStore
from tests.store.conftest import events, group

ENDLESS = "select count(*) from range(1000000000) a, range(1000000000) b where a.range * b.range % 7 = 3"


@pytest.fixture
def store(home: Home) -> Iterator[LocalStore]:
    store = LocalStore(home)
    yield store
    store.close()


def asked(store: LocalStore, query: str, limit: int = 100) -> list[list[object]]:
    return store.query(query, limit, Stop()).rows


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
def test_now_is_in_utc_wherever_the_machine_is(store: LocalStore) -> None:
    store.commit(group("r", time=time.time() - 3600.0))
    ((zone, now, passed),) = asked(
        store,
        "select current_setting('TimeZone'), now()::timestamp, max(started > now() - interval 2 hour) "
        "and max(started < now() - interval 30 minute) from runs",
    )
    assert zone == "UTC" and passed is True
    assert isinstance(now, datetime) and abs(now - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=1)


def test_what_runs_ends_when_it_is_told_to(store: LocalStore) -> None:
    stop = Stop()
    said: list[str] = []

    def ask() -> None:
        try:
            store.query(ENDLESS, 1, stop)
        except UserError as error:
            said.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    while thread.is_alive():
        stop.ask("enough")
        stop.ask("of it")
        thread.join(0.01)
    assert said == ["the query was ended: enough."]
    assert asked(store, "select 42") == [[42]]


def test_what_was_told_to_end_before_it_began_gives_nothing(store: LocalStore) -> None:
    stop = Stop()
    stop.ask("enough")
    with pytest.raises(UserError, match="enough"):
        store.query("select * from range(1000000)", 1_000_000, stop)


def test_an_answer_that_is_too_large_is_refused(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb_query, "MOST_BYTES", 1024 * 1024)
    with pytest.raises(UserError, match="larger than 1 MiB"):
        store.query("select repeat('x', 1000) from range(1000000)", 1_000_000, Stop())
    assert len(asked(store, "select repeat('x', 1000) from range(1000000)", 50)) == 50


def test_a_query_may_use_so_much_memory_and_no_more(store: LocalStore) -> None:
    ((memory, on_disk),) = asked(
        store, "select current_setting('memory_limit'), current_setting('max_temp_directory_size')"
    )
    assert str(memory).endswith("iB") and on_disk == "2.0 GiB"
    with pytest.raises(UserError, match="memory"):
        asked(store, "select length(string_agg(repeat('x', 1000000), ',')) from range(20000)")
    assert asked(store, "select 42") == [[42]]


def test_people_see_the_views_and_nothing_of_how_they_are_made(store: LocalStore) -> None:
    assert asked(store, "show tables") == [
        [name]
        for name in sorted(
            (
                "attempts", "children", "events", "obligations", "runs", "schedules", "signals", "steps", "timers",
                "updates", "values",
            )
        )
    ]  # fmt: skip
    assert asked(store, "with modules as (select 1 as idle) select idle from modules") == [[1]]


def test_a_pivot_says_its_values(store: LocalStore) -> None:
    store.commit(group("r"))
    with pytest.raises(UserError, match="values that become columns"):
        asked(store, "pivot runs on status using count(*)")
    assert asked(store, "pivot (select status from runs) on status in ('failed', 'succeeded') using count(*)") == [
        [0, 1]
    ]


def test_numbers_that_are_none_are_said(store: LocalStore) -> None:
    assert asked(store, "select 'nan'::double, 1.0 / 0, [-1.0 / 0], {'a': 'nan'::float}") == [
        ["NaN", "Infinity", ["-Infinity"], {"a": "NaN"}]
    ]


# Predicates


@pytest.fixture
def three(store: LocalStore) -> LocalStore:
    for number, run in enumerate(("a", "b", "c")):
        store.commit(group(run, events(run, closed=run != "c"), time=100.0 * number))
    return store


def matching(store: LocalStore, *conditions: str) -> list[object]:
    return [row[0] for row in store.matching(conditions, 10, Stop()).rows]


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        (("true",), ["c", "b", "a"]),
        (("id < 'c' -- not c",), ["b", "a"]),
        (("id in ('a', 'c')", "ended is null"), ["c"]),
        (("id = ')' or id = ';' or id = 'b' /* ) */",), ["b"]),
        (("list_contains(['a'], id)", "{'k': (1)}.k = 1"), ["a"]),
    ],
)
def test_all_conditions_are_met(three: LocalStore, conditions: tuple[str, ...], found: list[str]) -> None:
    assert matching(three, *conditions) == found


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("-- all", "empty"),
        ("/* all */", "empty"),
        ("true) or (true", "more than one"),
        ("true)) union select id from runs where ((true", "more than one"),
        ("true; drop view runs", "more than one"),
        ("(true", "not closed"),
        ("[1 = 1", "not closed"),
        ("id = 'a", "Error"),
        ("true /* ", "Error"),
        ("nonsense = 1", "nonsense"),
        ("true order by id", "Error"),
    ],
)
def test_a_predicate_is_one_and_stays_where_it_is_put(three: LocalStore, condition: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        matching(three, "ended is null", condition)
