"""Tables of nominal times, above all where clocks change, and laws of the sequences."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowbook.core import calendar
from flowbook.errors import UserError


def unix(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def after(text: str, cron: str, zone: str = "UTC", count: int = 3) -> list[str]:
    found = islice(calendar.cron(cron, zone, unix(text)), count)
    return [calendar.iso(at).removesuffix(":00Z") for at in found]


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 3 * * *", ["2026-01-01T03:00", "2026-01-02T03:00", "2026-01-03T03:00"]),
        ("*/20 * * * *", ["2026-01-01T00:20", "2026-01-01T00:40", "2026-01-01T01:00"]),
        ("5,35 8-9 * * MON-FRI", ["2026-01-01T08:05", "2026-01-01T08:35", "2026-01-01T09:05"]),
        ("0 0 * * 0", ["2026-01-04T00:00", "2026-01-11T00:00", "2026-01-18T00:00"]),
        ("0 0 * * 7", ["2026-01-04T00:00", "2026-01-11T00:00", "2026-01-18T00:00"]),
        ("0 12 15 jan,Jul *", ["2026-01-15T12:00", "2026-07-15T12:00", "2027-01-15T12:00"]),
        ("0 0 13 * FRI", ["2026-01-02T00:00", "2026-01-09T00:00", "2026-01-13T00:00"]),
        ("0 0 29 2 *", ["2028-02-29T00:00", "2032-02-29T00:00", "2036-02-29T00:00"]),
        ("0 0 L * *", ["2026-01-31T00:00", "2026-02-28T00:00", "2026-03-31T00:00"]),
        ("  0   0 1 * * ", ["2026-02-01T00:00", "2026-03-01T00:00", "2026-04-01T00:00"]),
        ("@hourly", ["2026-01-01T01:00", "2026-01-01T02:00", "2026-01-01T03:00"]),
        ("@daily", ["2026-01-02T00:00", "2026-01-03T00:00", "2026-01-04T00:00"]),
        ("@weekly", ["2026-01-04T00:00", "2026-01-11T00:00", "2026-01-18T00:00"]),
        ("@monthly", ["2026-02-01T00:00", "2026-03-01T00:00", "2026-04-01T00:00"]),
        ("@yearly", ["2027-01-01T00:00", "2028-01-01T00:00", "2029-01-01T00:00"]),
    ],
)
def test_cron(cron: str, expected: list[str]) -> None:
    assert after("2026-01-01T00:00", cron) == expected


@pytest.mark.parametrize(
    ("cron", "zone", "start", "expected"),
    [
        # Oslo skips 02:00-03:00 on 29 March 2026: a fixed time happens at the end of the gap, once.
        ("30 2 * * *", "Europe/Oslo", "2026-03-28T00:00", ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"]),
        ("0,30 2 * * *", "Europe/Oslo", "2026-03-29T00:00", ["2026-03-29T01:00", "2026-03-30T00:00"]),
        ("0 2,3 * * *", "Europe/Oslo", "2026-03-29T00:00", ["2026-03-29T01:00", "2026-03-30T00:00"]),
        # With a star the expression follows real time: the skipped quarters are not made up for.
        ("*/30 2 * * *", "Europe/Oslo", "2026-03-29T00:00", ["2026-03-30T00:00", "2026-03-30T00:30"]),
        ("0 * * * *", "Europe/Oslo", "2026-03-29T00:00", ["2026-03-29T01:00", "2026-03-29T02:00"]),
        # Oslo has 02:00-03:00 twice on 25 October 2026: a fixed time happens the first time.
        ("30 2 * * *", "Europe/Oslo", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("30 2 * * *", "Europe/Oslo", "2026-10-25T00:45", ["2026-10-26T01:30", "2026-10-27T01:30"]),
        # Asked between the two, the second one is no new time.
        ("45 2 * * *", "Europe/Oslo", "2026-10-25T01:30", ["2026-10-26T01:45", "2026-10-27T01:45"]),
        # With a star both have their turn.
        ("30 * * * *", "Europe/Oslo", "2026-10-25T00:00", ["2026-10-25T00:30", "2026-10-25T01:30"]),
        ("*/30 2 * * *", "Europe/Oslo", "2026-10-24T12:00", ["2026-10-25T00:00", "2026-10-25T00:30"]),
        # Midnight does not exist in Santiago on 6 September 2026, and half hours exist on Lord Howe Island.
        ("0 0 * * *", "America/Santiago", "2026-09-05T12:00", ["2026-09-06T04:00", "2026-09-07T03:00"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00", ["2026-10-03T15:30", "2026-10-04T15:15"]),
        # Samoa skipped the whole of 30 December 2011.
        ("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00", ["2011-12-29T22:00", "2011-12-30T10:00"]),
    ],
)
def test_changing_clocks(cron: str, zone: str, start: str, expected: list[str]) -> None:
    assert after(start, cron, zone, len(expected)) == expected


@pytest.mark.parametrize(
    ("cron", "part"),
    [
        ("", "it has 0 fields"),
        ("0 3 * *", "it has 4 fields"),
        ("0 0 3 * * *", "it has 6 fields"),
        ("60 * * * *", "its minute is wrong"),
        ("* 24 * * *", "its hour is wrong"),
        ("* * 0 * *", "its day of month is wrong"),
        ("* * * 13 *", "its month is wrong"),
        ("* * * * FOO", "its day of week is wrong"),
        ("*/0 * * * *", "its minute is wrong"),
        ("5-1 * * * *", "its minute is wrong"),
        ("@reboot", "'@reboot' is not a known name"),
        ("0 0 30 2 *", "its day of month is wrong"),
    ],
)
def test_a_bad_cron_expression_is_explained(cron: str, part: str) -> None:
    with pytest.raises(UserError, match="is not a cron expression") as told:
        calendar.check_cron(cron)
    assert part in str(told.value)


@pytest.mark.parametrize("name", ["Europe/Olso", "europe oslo", "", "../etc/passwd", "CEST+1x"])
def test_a_bad_time_zone_is_explained(name: str) -> None:
    with pytest.raises(UserError, match="is no time zone"):
        calendar.zone(name)


def test_the_nearest_time_zone_is_named() -> None:
    with pytest.raises(UserError, match="did you mean 'Europe/Oslo'"):
        calendar.zone("Europe/Olso")


@pytest.mark.parametrize(
    ("every", "offset", "start", "expected"),
    [
        (3600.0, 0.0, 7200.0, [10800.0, 14400.0]),
        (3600.0, 900.0, 7200.0, [8100.0, 11700.0]),
        (3600.0, 0.0, 7199.5, [7200.0, 10800.0]),
        (90.0, 0.0, -100.0, [-90.0, 0.0]),
        (1.1, 0.0, 0.0, [1.1, 2.2]),
        (10.0, 25.0, 0.0, [5.0, 15.0]),
    ],
)
def test_intervals_count_from_the_epoch(every: float, offset: float, start: float, expected: list[float]) -> None:
    assert list(islice(calendar.interval(every, offset, start), 2)) == expected


def test_times_of_several_are_one_sequence() -> None:
    merged = calendar.merged([iter([1.0, 3.0, 5.0]), iter([2.0, 3.0]), iter([])])
    assert list(merged) == [1.0, 2.0, 3.0, 5.0]


CRONS = st.sampled_from(
    ["0 3 * * *", "30 2 * * *", "0,30 2 * * *", "*/17 * * * *", "5 1-3 * * SUN", "0 0 1 * *", "0 2,3 25-31 3,10 *"]
)
ZONES = st.sampled_from(["UTC", "Europe/Oslo", "America/New_York", "Australia/Lord_Howe", "America/Santiago"])
MOMENTS = st.floats(unix("2026-03-20T00:00"), unix("2026-11-10T00:00"), allow_nan=False)


@given(cron=CRONS, zone=ZONES, start=MOMENTS)
def test_law_asking_again_goes_on_where_it_was(cron: str, zone: str, start: float) -> None:
    """Iterating, and asking for the next time after each, are the same: no restart loses or repeats a time."""
    iterated = list(islice(calendar.cron(cron, zone, start), 12))
    at, asked = start, []
    for _ in iterated:
        at = next(calendar.cron(cron, zone, at))
        asked.append(at)
    assert asked == iterated
    assert all(earlier < later for earlier, later in zip([start, *iterated], iterated, strict=False))


@given(every=st.floats(1.0, 1e6), offset=st.floats(0.0, 1e6), start=st.floats(0.0, 2e9))
def test_law_intervals_go_on_where_they_were(every: float, offset: float, start: float) -> None:
    iterated = list(islice(calendar.interval(every, offset, start), 5))
    at, asked = start, []
    for _ in iterated:
        at = next(calendar.interval(every, offset, at))
        asked.append(at)
    assert asked == iterated and iterated[0] > start


@pytest.mark.parametrize(
    ("at", "text"), [(0.0, "1970-01-01T00:00:00Z"), (1.5, "1970-01-01T00:00:01.500Z"), (1e9, "2001-09-09T01:46:40Z")]
)
def test_iso(at: float, text: str) -> None:
    assert calendar.iso(at) == text
