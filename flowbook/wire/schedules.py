"""Calls about schedules: parameters and results of each method, for both ends of the socket. Shapes only.

``set_schedule`` takes a ``core.schedule.SetSchedule`` and answers a ``ScheduleSummary``; ``schedules`` takes nothing
and answers a list of them.
"""

from __future__ import annotations

from typing import TypedDict

from flowbook.core.schedule import (
    BackfillSchedule,
    DeleteSchedule,
    PauseSchedule,
    ResumeSchedule,
    TriggerSchedule,
)
from flowbook.core.value import Value
from flowbook.wire.calls import Call


class OfSchedule(Call, frozen=True):
    """schedule: one schedule by name, with its next ``count`` times; answers a ``ScheduleSummary``."""

    name: str
    count: int = 5


class ChangeSchedule(Call, frozen=True):
    """change_schedule: tell a schedule something; answers a ``ScheduleChange``."""

    name: str
    change: PauseSchedule | ResumeSchedule | DeleteSchedule | TriggerSchedule | BackfillSchedule


class BegunRun(TypedDict):
    """A run that a schedule started for the nominal time ``at``."""

    at: float
    run: str


class ScheduleSummary(TypedDict):
    """One schedule. ``status`` is active, paused (``reason`` says why) or finished: no time will come.

    Times are unix seconds; ``start`` and ``end`` None for no bound, ``left`` is how many runs its times may still
    start or None for any number. ``next`` are the times to come, ``running`` its open runs, ``buffered`` the times
    that wait for them, ``recent`` its last runs, newest first.
    """

    name: str
    workflow: str
    status: str
    reason: str
    crons: list[str]
    every: float
    offset: float
    timezone: str
    jitter: float
    start: float | None
    end: float | None
    overlap: str
    catch_up: float
    pause_on_failure: bool
    left: int | None
    arguments: dict[str, Value]
    time_parameter: str
    module: str
    source: str
    since: float
    next: list[float]
    running: list[str]
    buffered: list[float]
    started: int
    skipped: int
    recent: list[BegunRun]


class ScheduleChange(TypedDict):
    """What a change did: the runs it started, and how many times it buffered and skipped.

    ``schedule`` is None where it was deleted.
    """

    schedule: ScheduleSummary | None
    started: list[str]
    buffered: int
    skipped: int
