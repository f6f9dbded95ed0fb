"""The calls about schedules, as data. No IO."""

from __future__ import annotations

import secrets

from flowbook.client.asks import Ask
from flowbook.core.schedule import (
    BackfillSchedule,
    DeleteSchedule,
    PauseSchedule,
    ResumeSchedule,
    ScheduleSpec,
    SetSchedule,
    TriggerSchedule,
)
from flowbook.wire.calls import Nothing
from flowbook.wire.schedules import ChangeSchedule, OfSchedule, ScheduleChange, ScheduleSummary


def set_schedule(name: str, spec: ScheduleSpec) -> Ask[ScheduleSummary]:
    """Make or replace a schedule."""
    return Ask("set_schedule", SetSchedule(name, spec), ScheduleSummary)


def schedules() -> Ask[list[ScheduleSummary]]:
    """All, by name."""
    return Ask("schedules", Nothing(), list[ScheduleSummary])


def schedule(name: str, count: int) -> Ask[ScheduleSummary]:
    """One, with its next ``count`` times."""
    return Ask("schedule", OfSchedule(name, count), ScheduleSummary)


def pause(name: str, reason: str) -> Ask[ScheduleChange]:
    """Let times pass."""
    return Ask("change_schedule", ChangeSchedule(name, PauseSchedule(reason)), ScheduleChange)


def resume(name: str) -> Ask[ScheduleChange]:
    """End a pause."""
    return Ask("change_schedule", ChangeSchedule(name, ResumeSchedule()), ScheduleChange)


def delete(name: str) -> Ask[ScheduleChange]:
    """Do away with it. Not sent again: it could be another one of that name by then."""
    return Ask("change_schedule", ChangeSchedule(name, DeleteSchedule()), ScheduleChange, repeatable=False)


def trigger(name: str, overlap: str) -> Ask[ScheduleChange]:
    """Carry it out now, once however often it is sent."""
    change = TriggerSchedule(overlap, secrets.token_hex(8))
    return Ask("change_schedule", ChangeSchedule(name, change), ScheduleChange)


def backfill(name: str, start: float, end: float, overlap: str) -> Ask[ScheduleChange]:
    """Carry out past times, once however often it is sent."""
    change = BackfillSchedule(start, end, overlap, secrets.token_hex(8))
    return Ask("change_schedule", ChangeSchedule(name, change), ScheduleChange)
