"""The times of a schedule's spec, and whether a spec makes sense."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from itertools import pairwise, takewhile

from msgspec.structs import replace

from flowbook.core import calendar
from flowbook.core.duration import spoken
from flowbook.core.schedule import OVERLAPS, ScheduleSpec
from flowbook.errors import UserError

LONGEST = 100 * 366 * 86400.0
"""Seconds."""

_NAME = re.compile(r"\w[\w.-]{0,99}")
_TIMING = ("crons", "every", "offset", "timezone", "start", "end", "jitter")


def checked(name: str, spec: ScheduleSpec) -> ScheduleSpec:
    """The spec, tidied. Raises UserError saying what is wrong with it."""
    if not _NAME.fullmatch(name):
        raise UserError(f"'{name}' cannot be a schedule's name; use letters, digits, '.', '-' and '_'")
    if not spec.crons and not spec.every:
        raise UserError(f"schedule '{name}' has no times: give cron='0 3 * * *' (every day at 3:00) or every='1h'")
    crons = tuple(calendar.check_cron(text) for text in spec.crons)
    calendar.zone(spec.timezone)
    checked_overlap(spec.overlap)
    if spec.every and not 1.0 <= spec.every <= LONGEST:
        raise UserError(
            f"schedule '{name}' cannot run every {spoken(spec.every)}: a second is the shortest interval, a hundred "
            "years are the longest"
        )
    if spec.offset and not spec.every:
        raise UserError(f"schedule '{name}' has an offset and no interval that it could be of; give every= as well")
    for told in ("offset", "jitter"):
        if getattr(spec, told) > LONGEST:
            raise UserError(f"{told} of schedule '{name}' cannot be longer than a hundred years")
    for told in ("start", "end"):
        if not calendar.FIRST <= getattr(spec, told) <= calendar.LAST:
            raise UserError(f"{told} of schedule '{name}' has to lie between the years 1970 and 9000")
    for told in ("jitter", "catch_up", "limit"):
        if getattr(spec, told) < 0:
            raise UserError(f"{told} of schedule '{name}' cannot be negative")
    if spec.end and spec.end < spec.start:
        raise UserError(f"schedule '{name}' ends before it starts")
    return replace(spec, crons=crons)


def checked_overlap(overlap: str) -> str:
    """The policy. Raises UserError for one that does not exist."""
    if overlap not in OVERLAPS:
        raise UserError(f"overlap='{overlap}' is not known; it is one of {', '.join(OVERLAPS)}")
    return overlap


def is_same_timing(one: ScheduleSpec, other: ScheduleSpec) -> bool:
    """True when both have the same times, carried out at the same moments."""
    return all(getattr(one, name) == getattr(other, name) for name in _TIMING)


def times(spec: ScheduleSpec, after: float) -> Iterator[float]:
    """The nominal times later than ``after``, ascending, each once."""
    end = spec.end or calendar.LAST
    return takewhile(lambda at: at <= end, _unending(spec, after))


def fire_times(name: str, spec: ScheduleSpec, after: float) -> Iterator[tuple[float, float]]:
    """The nominal times later than ``after``, each with the time when it is carried out; both ascend."""
    if not spec.jitter:
        yield from ((at, at) for at in times(spec, after))
        return
    end = spec.end or calendar.LAST
    for at, following in pairwise(_unending(spec, after)):
        if at > end:
            return
        yield at, at + _fraction(name, at) * min(spec.jitter, following - at)


def _unending(spec: ScheduleSpec, after: float) -> Iterator[float]:
    # Times are told to the millisecond, so this is the last moment before the start.
    after = max(after, spec.start - 0.001) if spec.start else after
    found = [calendar.cron(text, spec.timezone, after) for text in spec.crons]
    if spec.every:
        found.append(calendar.interval(spec.every, spec.offset, after))
    return calendar.merged(found)


def _fraction(name: str, at: float) -> float:
    """A number in [0, 1) that is always the same for a time of a schedule."""
    drawn = hashlib.blake2b(f"{name} {at!r}".encode(), digest_size=7).digest()
    return int.from_bytes(drawn, "big") / 2**56
