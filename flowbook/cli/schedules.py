"""``flowbook schedule``: make schedules, look at them, change them."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from flowbook.api.arguments import from_texts, read_params
from flowbook.api.connection import Connection, connect
from flowbook.api.schedules import Schedule, loaded, one_line, schedule, timing, without
from flowbook.cli import shapes, terminal
from flowbook.client import schedule_asks
from flowbook.core.calendar import shown
from flowbook.core.duration import spoken
from flowbook.core.printable import printable

if TYPE_CHECKING:
    from flowbook.client.asks import Ask
    from flowbook.wire.schedules import ScheduleChange, ScheduleSummary

SHOWN = 5
"""Runs that ``show`` lists."""


def set_schedule(options: Namespace) -> int:
    """``flowbook schedule set``."""
    module, workflow, _ = loaded(options.file)
    arguments = from_texts(module, without(workflow, options.time_parameter), read_params(options.param))
    made = schedule(
        options.file,
        options.name,
        cron=options.cron,
        every=options.every,
        offset=options.offset,
        timezone=options.timezone,
        jitter=options.jitter,
        start=options.start,
        end=options.end,
        overlap=options.overlap,
        catch_up=options.catch_up,
        pause_on_failure=options.pause_on_failure,
        limit=options.limit,
        time_parameter=options.time_parameter,
        timeout=options.timeout,
        arguments=arguments,
    )
    return _show(made.summary, connect(), options)


def list_schedule(options: Namespace) -> int:
    """``flowbook schedule list``."""
    connection = connect()
    found = connection.client.ask(schedule_asks.schedules())
    if options.json:
        shapes.emit([document(summary, connection) for summary in found])
    else:
        print("\n".join(map(one_line, found)) or f"no schedules yet; make one with  {terminal.program()} schedule set")
    return 0


def show_schedule(options: Namespace) -> int:
    """``flowbook schedule show``."""
    connection = connect()
    return _show(connection.client.ask(schedule_asks.schedule(options.name, options.next)), connection, options)


def pause_schedule(options: Namespace) -> int:
    """``flowbook schedule pause``."""
    return _changed(schedule_asks.pause(options.name, options.reason), options, "is paused")


def resume_schedule(options: Namespace) -> int:
    """``flowbook schedule resume``."""
    return _changed(schedule_asks.resume(options.name), options, "goes on")


def delete_schedule(options: Namespace) -> int:
    """``flowbook schedule delete``."""
    return _changed(schedule_asks.delete(options.name), options, "is deleted; its runs go on")


def trigger_schedule(options: Namespace) -> int:
    """``flowbook schedule trigger``."""
    return _changed(schedule_asks.trigger(options.name, options.overlap), options, "")


def backfill_schedule(options: Namespace) -> int:
    """``flowbook schedule backfill``."""
    made = Schedule(options.name)
    done = made.backfill(options.start, options.end, options.overlap)
    return _report(done.change, options, "", connect())


def _changed(ask: Ask[ScheduleChange], options: Namespace, said: str) -> int:
    connection = connect()
    return _report(connection.client.ask(ask), options, said, connection)


def _report(change: ScheduleChange, options: Namespace, said: str, connection: Connection) -> int:
    summary = change["schedule"]
    if options.json:
        found = None if summary is None else document(summary, connection)
        shapes.emit({**change, "schedule": found})
        return 0
    lines = [f"{options.name} {said}"] if said else []
    lines += [f"started {run}" for run in change["started"]]
    if change["buffered"]:
        lines.append(f"{change['buffered']} wait for their turn")
    if change["skipped"] and summary is not None:
        lines.append(f"{change['skipped']} skipped: {_refusal(summary, getattr(options, 'overlap', ''))}")
    print("\n".join(lines) or "no times in between")
    return 0


def _refusal(summary: ScheduleSummary, overlap: str) -> str:
    """Why a time that was asked for is not carried out."""
    policy = overlap or summary["overlap"]
    if policy == "skip":
        why = f"run {summary['running'][0]} is open" if summary["running"] else "a time waits for its turn"
        return f"{why} and the policy is skip; --overlap allow_all starts it all the same"
    waiting = len(summary["buffered"])
    return f"{waiting} wait for their turn already, and the policy {policy} lets no more wait"


def document(summary: ScheduleSummary, connection: Connection) -> dict[str, Any]:
    """A schedule as ``--json`` prints it: the summary, its arguments as plain JSON."""
    return {**summary, "arguments": {name: connection.plain(value) for name, value in summary["arguments"].items()}}


def _show(summary: ScheduleSummary, connection: Connection, options: Namespace) -> int:
    if options.json:
        shapes.emit(document(summary, connection))
        return 0
    zone = summary["timezone"]
    rows = [("runs", f"{summary['workflow']}  {summary['source']}".rstrip()), ("when", timing(summary))]
    rows += [(name, text) for name, text in _extras(summary) if text]
    for name, value in summary["arguments"].items():
        rows.append(("with", f"{name} = {connection.plain(value)!r}"))
    if summary["time_parameter"]:
        rows.append(("with", f"{summary['time_parameter']} = the nominal time"))
    if summary["status"] == "paused":
        rows.append(("next", "nothing while it is paused; resumed now it would be"))
    rows += [("next", shown(at, zone)) for at in summary["next"]] or [("next", "no time is to come")]
    reason = printable(f": {summary['reason']}") if summary["reason"] else ""
    print(f"{summary['name']} {summary['status']}{reason}")
    _table(rows)
    _table([("last", f"{run}  {connection.client.run(run)['status']}") for run in _last(summary)])
    if summary["started"] or summary["skipped"]:
        print(f"  {summary['started']} started, {summary['skipped']} skipped so far")
    return 0


def _last(summary: ScheduleSummary) -> list[str]:
    """The last runs, and older ones that are open still."""
    last = [begun["run"] for begun in summary["recent"][:SHOWN]]
    return last + [run for run in summary["running"] if run not in last][:SHOWN]


def _extras(summary: ScheduleSummary) -> list[tuple[str, str]]:
    start, end, zone = summary["start"], summary["end"], summary["timezone"]
    return [
        ("jitter", spoken(summary["jitter"]) if summary["jitter"] else ""),
        ("from", shown(start, zone) if start is not None else ""),
        ("until", shown(end, zone) if end is not None else ""),
        ("left", f"{summary['left']} runs" if summary["left"] is not None else ""),
        ("overlap", summary["overlap"]),
        ("failure", "pauses the schedule" if summary["pause_on_failure"] else ""),
        ("waiting", f"{len(summary['buffered'])} times" if summary["buffered"] else ""),
    ]


def _table(rows: list[tuple[str, str]]) -> None:
    """Rows of a name and a text; a name that was just said is not repeated."""
    before = ""
    for name, text in rows:
        print(f"  {'' if name == before else name:<9}{text}")
        before = name
