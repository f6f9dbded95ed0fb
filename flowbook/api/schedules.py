"""Schedules: have a workflow started at certain times, look at it, pause it, make up for the past."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from flowbook.api.arguments import checked
from flowbook.api.bounds import at_least_one
from flowbook.api.connection import Connection, connect, here
from flowbook.api.started import Run
from flowbook.client import schedule_asks
from flowbook.core.calendar import local, shown, zone
from flowbook.core.duration import seconds, spoken, time_limit
from flowbook.core.module import Module, Workflow
from flowbook.core.schedule import ScheduledStart, ScheduleSpec
from flowbook.core.schedule_times import checked as sensible
from flowbook.errors import FlowbookError, UserError
from flowbook.runtime import current, definitions

if TYPE_CHECKING:
    from flowbook.wire.schedules import ScheduleChange, ScheduleSummary

Moment = datetime | date | str
Length = float | int | str | timedelta


class Schedule:
    """One schedule. Getting one is free: it is asked for when something is asked of it."""

    def __init__(self, name: str, connection: Connection | None = None) -> None:
        self.name = name
        self._connection = connection or connect()
        self._client = self._connection.client

    @property
    def summary(self) -> ScheduleSummary:
        """All about it, as the engine tells it now. Raises UnknownSchedule."""
        return self._told(5)

    @property
    def status(self) -> str:
        """active, paused or finished (no time will come)."""
        return self.summary["status"]

    def next(self, count: int = 5) -> list[datetime]:
        """The next nominal times, in the schedule's time zone; of a paused one those if it were resumed now."""
        summary = self._told(at_least_one("count", count))
        return [local(at, summary["timezone"]) for at in summary["next"]]

    def runs(self, limit: int = 20) -> list[Run[Any]]:
        """The runs it started last, newest first."""
        recent = self.summary["recent"][: at_least_one("limit", limit)]
        return [Run(begun["run"], self._connection) for begun in recent]

    def pause(self, reason: str = "") -> Schedule:
        """Let times pass. Its runs go on, and ``trigger`` still works."""
        self._client.ask(schedule_asks.pause(self.name, reason))
        return self

    def resume(self) -> Schedule:
        """End a pause. The times that came in it are not made up for; ``backfill`` does that."""
        self._client.ask(schedule_asks.resume(self.name))
        return self

    def trigger(self, overlap: str = "") -> Run[Any] | None:
        """Start it now, by the schedule's overlap policy or this one; None where it has to wait or is skipped."""
        change = self._client.ask(schedule_asks.trigger(self.name, overlap))
        return Run(change["started"][0], self._connection) if change["started"] else None

    def backfill(self, start: Moment, end: Moment, overlap: str = "") -> Backfill:
        """Carry out the times from ``start`` to ``end``, both included, one run after the other.

        Where the schedule's policy is ``allow_all``, or ``overlap`` says so, all at once.
        """
        timezone = self._told(0)["timezone"]
        begin, finish = moment(start, timezone), moment(end, timezone, is_end=True)
        change = self._client.ask(schedule_asks.backfill(self.name, begin, finish, overlap))
        return Backfill(change, self._connection)

    def delete(self) -> None:
        """Do away with it. Its runs go on."""
        self._client.ask(schedule_asks.delete(self.name))

    def _told(self, count: int) -> ScheduleSummary:
        return self._client.ask(schedule_asks.schedule(self.name, count))

    def __repr__(self) -> str:
        try:
            return f"<schedule {one_line(self.summary)}>"
        except FlowbookError as error:
            return f"<schedule {self.name}: {error}>"


class Schedules(list[Schedule]):
    """Schedules by name; shows as a table."""

    def __init__(self, lines: list[str], found: list[Schedule]) -> None:
        super().__init__(found)
        self._lines = lines

    def __repr__(self) -> str:
        return "\n".join(self._lines) or "no schedules yet"


class Backfill(list[Run[Any]]):
    """The runs that began at once. ``buffered`` times have their turn later, ``skipped`` ones never."""

    def __init__(self, change: ScheduleChange, connection: Connection) -> None:
        super().__init__(Run(run, connection) for run in change["started"])
        self.change = change
        self.buffered = change["buffered"]
        self.skipped = change["skipped"]

    def __repr__(self) -> str:
        counts = ((len(self), "started"), (self.buffered, "waiting for their turn"), (self.skipped, "skipped"))
        return ", ".join(f"{count} {word}" for count, word in counts if count) or "no times in between"


def schedule(
    what: str | Path | definitions.Workflow[..., Any],
    name: str,
    /,
    *args: Any,
    cron: str | Sequence[str] = (),
    every: Length = 0,
    offset: Length = 0,
    timezone: str = "UTC",
    jitter: Length = 0,
    start: Moment | None = None,
    end: Moment | None = None,
    overlap: str = "skip",
    catch_up: Length = "365d",
    pause_on_failure: bool = False,
    limit: int = 0,
    time_parameter: str = "",
    timeout: Length | None = None,
    queue: str = "",
    priority: int = 0,
    concurrency_key: str = "",
    attributes: Mapping[str, Any] | None = None,
    memo: Mapping[str, Any] | None = None,
    arguments: Mapping[str, Any] | None = None,
    **params: Any,
) -> Schedule:
    """Have a workflow, a notebook or a Python file (``"file.py:name"``) started at certain times.

    Its code is taken as it is now; setting the same name again replaces code, times and arguments. What is left of
    the keywords are the workflow's arguments; ``arguments`` is for those named as an option is.

    ``cron``: one or several expressions, "0 3 * * *" or "@daily", read in ``timezone`` (an IANA name); by default what
    the notebook's ``schedule`` annotation says.
    ``every``: an interval such as "1h", counted from the epoch, plus ``offset``.
    ``jitter``: carry each time out up to so much later, to spread load. ``start``, ``end``: bounds, both included.
    ``overlap``: what a time means while a run is open: skip, buffer_one, buffer_all, cancel_other, terminate_other or
    allow_all. ``catch_up``: how late a time that was missed is still carried out.
    ``pause_on_failure``: a failed run pauses the schedule. ``limit``: so many runs and no more.
    ``time_parameter``: the workflow's parameter that is given the nominal time. ``timeout``, ``queue``,
    ``priority``, ``concurrency_key``, ``attributes`` and ``memo`` are those of each run, as in ``start``.
    """
    if current.execution() is not None:
        raise UserError(f"schedule '{name}' was made inside a workflow; make it outside, or in a step")
    connection = connect()
    module, workflow, asked, given = _prepared(what, args, {**params, **(arguments or {})})
    own = connection.of(lambda: module)
    crons = (cron,) if isinstance(cron, str) else tuple(cron)
    if not crons and not every and asked:
        crons = (asked,)
    spec = ScheduleSpec(
        run=ScheduledStart(
            workflow=workflow.name,
            module=module.digest,
            place=here(),
            arguments=_encoded(own, workflow, given, time_parameter),
            source=module.origin,
            time_parameter=time_parameter,
            timeout=time_limit(timeout if timeout is None else length(timeout)),
            queue=queue,
            priority=priority,
            concurrency_key=concurrency_key,
            attributes=dict(attributes or {}),
            memo={key: own.encode(value, key) for key, value in (memo or {}).items()},
        ),
        crons=crons,
        every=length(every),
        offset=length(offset),
        timezone=timezone,
        jitter=length(jitter),
        start=moment(start, timezone) if start is not None else 0.0,
        end=moment(end, timezone, is_end=True) if end is not None else 0.0,
        overlap=overlap,
        catch_up=length(catch_up),
        pause_on_failure=pause_on_failure,
        limit=limit,
    )
    return put(connection, name, module, spec)


def put(connection: Connection, name: str, module: Module, spec: ScheduleSpec) -> Schedule:
    """Make or replace a schedule; when this returns, it is on disk."""
    spec = sensible(name, spec)
    connection.client.put_module(module)
    connection.client.ask(schedule_asks.set_schedule(name, spec))
    return Schedule(name, connection)


def schedules() -> Schedules:
    """This project's schedules, by name."""
    connection = connect()
    found = connection.client.ask(schedule_asks.schedules())
    return Schedules([one_line(s) for s in found], [Schedule(s["name"], connection) for s in found])


def get_schedule(name: str) -> Schedule:
    """The schedule of this name. Raises UnknownSchedule."""
    found = Schedule(name)
    return Schedule(found.summary["name"], found._connection)


def _prepared(
    what: str | Path | definitions.Workflow[..., Any], args: tuple[Any, ...], given: dict[str, Any]
) -> tuple[Module, Workflow, str, dict[str, Any]]:
    """The module, its workflow, the cron expression it asks for, and the arguments by name."""
    if isinstance(what, definitions.Workflow):
        from flowbook.api import live

        live.refuse_while_loading(what, "schedule")
        try:
            given = dict(inspect.signature(what.function).bind_partial(*args, **given).arguments)
        except TypeError as error:
            raise UserError(f"{what.name}.schedule(): {error}") from None
        return (*live.compiled(what), "", given)
    if args:
        raise UserError("the arguments of a notebook or a file have names: write them as name=value")
    return (*loaded(what), given)


def loaded(what: str | Path) -> tuple[Module, Workflow, str]:
    """The module and workflow of ``FILE[:NAME]``, and the cron expression that a notebook's annotation gives."""
    from flowbook.api.source import accepted, chosen, compile_file, split_target

    path, name = split_target(str(what))
    compiled = compile_file(path)
    module = accepted(compiled, path)
    return module, chosen(module, name, path), compiled.schedule


def _encoded(
    connection: Connection, workflow: Workflow, given: Mapping[str, Any], time_parameter: str
) -> dict[str, Any]:
    names = [str(parameter["name"]) for parameter in workflow.parameters]
    if not time_parameter:
        return {key: connection.encode(value, key) for key, value in checked(workflow, given).items()}
    if time_parameter not in names:
        raise UserError(f"{workflow.name} has no parameter '{time_parameter}' that could be given the time")
    if time_parameter in given:
        raise UserError(f"'{time_parameter}' is given the time of each run, so it can have no other value")
    fitting = checked(without(workflow, time_parameter), given)
    return {key: connection.encode(value, key) for key, value in fitting.items()}


def without(workflow: Workflow, parameter: str) -> Workflow:
    """The workflow as if it had no such parameter."""
    return replace(workflow, parameters=tuple(p for p in workflow.parameters if p["name"] != parameter))


def length(value: Length) -> float:
    """Seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else seconds(value)


def moment(value: Moment, timezone: str, is_end: bool = False) -> float:
    """Unix seconds of a datetime, a date or a text such as "2026-11-23" or "2026-11-23T03:00+01:00".

    Without an offset it is a time in ``timezone``; a date stands for its first moment, or its last where ``is_end``.
    """
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
        except ValueError:
            raise UserError(f"'{value}' is not a time; write for example 2026-11-23 or 2026-11-23T03:00") from None
    if not isinstance(value, datetime):
        value = datetime.combine(value, time.max if is_end else time.min)
    try:
        return (value if value.tzinfo is not None else value.replace(tzinfo=zone(timezone))).timestamp()
    except (OverflowError, ValueError):
        raise UserError(
            f"{value.isoformat()} is no time that a schedule has: they lie in the years 1970 to 9000"
        ) from None


def timing(summary: ScheduleSummary) -> str:
    """When, in a few words."""
    words = [f"'{cron}'" for cron in summary["crons"]]
    if summary["every"]:
        words.append(f"every {spoken(summary['every'])}")
    text = " and ".join(words)
    return f"{text} {summary['timezone']}" if summary["crons"] else text


def one_line(summary: ScheduleSummary) -> str:
    """Name, status, when and what, and the next time."""
    text = f"{summary['name']} {summary['status']}: {summary['workflow']} {timing(summary)}"
    if summary["status"] == "paused":
        return f"{text}, {summary['reason']}" if summary["reason"] else text
    if summary["next"]:
        text += f", next {shown(summary['next'][0], summary['timezone'])}"
    return text
