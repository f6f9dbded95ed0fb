"""The answer to a query as Python values."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from flowbook import api
from flowbook.api.rows import Rows
from flowbook.errors import UserError
from tests.cli.fake import FakeClient


def answer(*columns: tuple[str, str, list[Any]], more: bool = False) -> Any:
    rows = [list(row) for row in zip(*(values for _, _, values in columns), strict=True)]
    return {"columns": [{"name": name, "type": kind} for name, kind, _ in columns], "rows": rows, "more": more}


TYPED = answer(
    ("at", "TIMESTAMP", ["2026-01-02T03:04:05.5", None]),
    ("zoned", "TIMESTAMP WITH TIME ZONE", ["2026-01-02T03:04:05Z", None]),
    ("day", "DATE", ["2026-01-02", None]),
    ("took", "INTERVAL", ["P1DT7200S", None]),
    ("cost", "DECIMAL(5,2)", ["1.50", None]),
    ("mean", "DOUBLE", ["NaN", 1.5]),
    ("body", "BLOB", ["YWJj", None]),
    ("n", "BIGINT", [1, 2]),
)


def test_values_are_pythons_own() -> None:
    first, second = Rows(TYPED)
    assert math.isnan(first.pop("mean")) and second["mean"] == 1.5
    assert first == {
        "at": datetime(2026, 1, 2, 3, 4, 5, 500_000),
        "zoned": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "day": date(2026, 1, 2),
        "took": timedelta(days=1, hours=2),
        "cost": Decimal("1.50"),
        "body": b"abc",
        "n": 1,
    }
    assert second["at"] is None


def test_a_frame_has_times_where_sql_has_them() -> None:
    pandas = pytest.importorskip("pandas")
    frame = Rows(TYPED).frame()
    assert {name: str(kind) for name, kind in frame.dtypes.items() if name != "body"} == {
        "at": "datetime64[us]",
        "zoned": "datetime64[us, UTC]",
        "day": "datetime64[us]",
        "took": "timedelta64[us]",
        "cost": "float64",
        "mean": "float64",
        "n": "int64",
    }
    assert frame["at"][0] == pandas.Timestamp("2026-01-02 03:04:05.5") and pandas.isna(frame["at"][1])
    empty = Rows(answer(("at", "TIMESTAMP", []), ("n", "BIGINT", []))).frame()
    assert list(empty.columns) == ["at", "n"] and len(empty) == 0


def test_columns_of_one_name_keep_their_values() -> None:
    rows = Rows(answer(("n", "BIGINT", [1]), ("n", "BIGINT", [2]), ("n_1", "BIGINT", [3])))
    assert rows == [{"n": 1, "n_1": 2, "n_1_1": 3}] and rows.columns == ["n", "n_1", "n_1_1"]
    assert repr(rows).splitlines()[-1].split() == ["1", "2", "3"]
    assert list(rows.frame().iloc[0]) == [1, 2, 3]


def test_what_python_has_no_value_for_stays_a_text() -> None:
    early = "0100-01-01 (BC) 00:00:00"
    rows = Rows(answer(("at", "TIMESTAMP", [early])))
    assert rows == [{"at": early}] and rows.frame()["at"][0] == early


def test_a_table_is_one_line_a_row() -> None:
    text, took, number = ["a\nb\x1b[31m\u202e"], ["-P0DT90S"], ["NaN"]
    shown = repr(Rows(answer(("text", "VARCHAR", text), ("took", "INTERVAL", took), ("x", "DOUBLE", number))))
    assert shown.splitlines()[2].split() == [r"a\nb\x1b[31m\u202e", "-1m30s", "nan"]


def test_what_was_cut_off_is_said(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, float]] = []

    def sql(query: str, limit: int, timeout: float) -> Any:
        asked.append((limit, timeout))
        return answer(("n", "BIGINT", [1]), more=True)

    monkeypatch.setattr(client, "sql", sql)
    with pytest.warns(UserWarning, match="more than 1,000,000 rows"):
        assert api.sql("select 1").attrs["more"]
    assert api.sql("select 1", limit=1, timeout="5m").attrs["more"]
    assert asked == [(1_000_000, 60.0), (1, 300.0)]


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": -1}, {"limit": True}, {"timeout": 0}, {"timeout": "soon"}])
def test_what_makes_no_sense_is_not_asked(client: FakeClient, options: Any) -> None:
    with pytest.raises(UserError):
        api.sql("select 1", **options)
    assert client.said == []
    with pytest.raises(UserError, match="limit is 0"):
        api.runs(limit=0)
