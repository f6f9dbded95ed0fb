"""Nominal times: when a cron expression or an interval says that something is to happen. Unix seconds throughout.

A cron expression is read by ``cronsim``, in a time zone, with the rules of Debian's cron where clocks change: a fixed
time that a gap skips happens at the end of the gap, a fixed time that comes twice happens the first time; with a ``*``
in the minute or hour the expression follows real time, so every hour has its turn. An interval counts from the epoch.
Nothing here knows of schedules, runs or the present.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from flowbook.errors import UserError

_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

FIRST, LAST = 0.0, datetime(9000, 1, 1, tzinfo=UTC).timestamp()
"""Between these are all nominal times. What Python's calendar says near the year 9999 is an exception."""


def zone(name: str) -> ZoneInfo:
    """The time zone of this IANA name. Raises UserError with the nearest names."""
    try:
        return _zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        import difflib

        folded = {known.lower(): known for known in available_timezones()}
        close = difflib.get_close_matches(name.lower(), folded, 1, 0.7)
        hint = f"; did you mean '{folded[close[0]]}'?" if close else ""
        raise UserError(f"'{name}' is no time zone; write a name such as 'UTC' or 'Europe/Oslo'{hint}") from None


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def check_cron(text: str) -> str:
    """``text`` without needless spaces. Raises UserError where it is no cron expression, or one that never comes."""
    tidy = " ".join(text.split())
    try:
        next(_cron(tidy, ZoneInfo("UTC"), 0.0))
    except StopIteration:
        raise UserError(f"the cron expression '{text}' names no day that exists") from None
    return tidy


def cron(text: str, timezone: str, after: float) -> Iterator[float]:
    """The times of a cron expression later than ``after``, ascending, each once."""
    return _cron(text, zone(timezone), after)


def _cron(text: str, tz: ZoneInfo, after: float) -> Iterator[float]:
    # Plain UTC has no changes of clocks to mind, and is several times faster.
    begin = datetime.fromtimestamp(after, UTC)
    last = after
    for moment in _simulated(text, begin if tz.key == "UTC" else begin.astimezone(tz)):
        at = (moment.astimezone(UTC) - _EPOCH).total_seconds()
        if at > last:
            last = at
            yield at


def _simulated(text: str, begin: datetime) -> CronSim:
    fields = _ALIASES.get(text.strip().lower(), text)
    count = len(fields.split())
    if count != 5:
        told = (
            f"it has {count} fields" if count != 1 or not fields.startswith("@") else f"'{fields}' is not a known name"
        )
        raise UserError(
            f"'{text}' is not a cron expression: {told}. Write minute, hour, day of month, month and day of week, "
            "for example '0 3 * * *' (every day at 3:00) or '*/15 8-17 * * MON-FRI'; or @hourly, @daily, @weekly, "
            "@monthly, @yearly"
        )
    try:
        return CronSim(fields, begin)
    except (CronSimError, AssertionError, ValueError, IndexError, TypeError) as error:
        field = str(error).removeprefix("Bad ").replace("-", " ") or "field"
        raise UserError(
            f"'{text}' is not a cron expression: its {field} is wrong. The fields are minute (0-59), hour (0-23), "
            "day of month (1-31), month (1-12 or JAN-DEC) and day of week (0-7 or SUN-SAT), each a value, a list "
            "'1,15', a range '1-5', '*', or steps '*/10'"
        ) from None


def interval(every: float, offset: float, after: float) -> Iterator[float]:
    """The times ``n * every + offset`` later than ``after``, ascending. To the millisecond."""
    number = int((after - offset) // every) - 1
    while True:
        at = round(number * every + offset, 3)
        if at > after:
            yield at
        number += 1


def merged(times: list[Iterator[float]]) -> Iterator[float]:
    """Several ascending sequences as one, each time once."""
    last: float | None = None
    for at in heapq.merge(*times):
        if at != last:
            last = at
            yield at


def iso(at: float) -> str:
    """UTC, to the second where it is whole: ``2026-11-23T03:00:00Z``."""
    moment = datetime.fromtimestamp(round(at, 3), UTC)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")


def local(at: float, timezone: str) -> datetime:
    """The time in a time zone."""
    return datetime.fromtimestamp(at, zone(timezone))


def shown(at: float, timezone: str) -> str:
    """For eyes: ``2026-11-23 03:00+01:00``. Seconds only where there are any, and nothing finer."""
    whole = at // 1
    try:
        return local(whole, timezone).isoformat(" ", "minutes" if whole % 60 == 0 else "seconds")
    except (OverflowError, ValueError, OSError):
        return "a time that no schedule has"
