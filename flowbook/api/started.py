"""A run in one's hand: its state, its result, its past, and what can be done to it."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio.to_thread

from flowbook.api.acting import Acting
from flowbook.api.connection import Connection, connect
from flowbook.api.moment import Moment, Values, clip, shown
from flowbook.api.owed import Obligation, Obligations
from flowbook.core import events as e
from flowbook.core import options
from flowbook.core.duration import seconds, spoken
from flowbook.core.failure import Failure, Frame
from flowbook.core.sentences import describe
from flowbook.errors import FlowbookError, RunCancelled, RunFailed, RunTerminated

if TYPE_CHECKING:
    from flowbook.api.fork import Fork
    from flowbook.api.moving import Code, Fit
    from flowbook.wire.calls import Summary
    from flowbook.wire.history import Exported

R = TypeVar("R", covariant=True)

POLL = 60.0
AWAITED_FOR = 1.0
"""Seconds that a thread waits which an ``await`` has no use for any more."""

PAGE = 5000
OPEN = ("running", "waiting", "queued")


class History(list[e.Recorded]):
    """A run's events, oldest first; shows as a table."""

    def __repr__(self) -> str:
        if not self:
            return "no events"
        first = self[0].time
        return "\n".join(f"{r.seq:>5}  +{r.time - first:8.3f}s  {describe(r.event)}" for r in self)


class Run(Acting, Generic[R]):
    """One execution of a workflow. Getting one is free: it is asked for when something is asked of it.

    ``await run`` gives its result as ``run.result()`` does, in code that is ``async``.
    """

    def __init__(self, id: str, connection: Connection | None = None) -> None:
        self.id = options.name("a run's id", id)
        self._connection = connection or connect()
        self._client = self._connection.client

    @cached_property
    def _own(self) -> Connection:
        return self._connection.of(lambda: self._client.module(self.summary["module"]))

    @property
    def summary(self) -> Summary:
        """The run in a few words, as the engine tells it now."""
        return self._client.run(self.id)

    @property
    def status(self) -> str:
        """queued, running, waiting, paused, succeeded, failed, cancelled, terminated or continued."""
        return self.summary["status"]

    @property
    def workflow(self) -> str:
        """Name of the workflow."""
        return self.summary["workflow"]

    @property
    def attributes(self) -> dict[str, Any]:
        """What the run can be searched by."""
        return self.summary["attributes"]

    @property
    def memo(self) -> dict[str, Any]:
        """What was noted with it when it was started."""
        return {name: self._own.decode(value) for name, value in self.summary["memo"].items()}

    @property
    def obligations(self) -> Obligations:
        """What the run owes outside now, also where it has ended; each can be settled, or tried again."""
        return Obligations(Obligation(self, owed, self._own) for owed in self.summary["obligations"])

    @property
    def latest(self) -> Run[R]:
        """The last run of its chain: what it has gone on as (``continue_as_new``), or who had its id after it."""
        return Run(self._client.wait(self.id, 0.0)["id"], self._connection)

    @property
    def parent(self) -> Run[Any] | None:
        """The run that started this one as its child."""
        return self._other(self.summary["parent"])

    @property
    def continued(self) -> Run[Any] | None:
        """The run that this one goes on from."""
        return self._other(self.summary["continued"])

    @property
    def children(self) -> list[Run[Any]]:
        """The runs that this one started as its children, oldest first."""
        started = (recorded.event for recorded in self.history)
        return [Run(event.run, self._connection) for event in started if isinstance(event, e.ChildStarted)]

    def _other(self, id: str) -> Run[Any] | None:
        return Run(id, self._connection) if id else None

    def wait(self, timeout: float | str | None = None) -> str:
        """Wait until the run has ended or paused, or the time is up ("90s"); gives its status then.

        A run that goes on as a new one (``continue_as_new``) is followed, here and in ``result``.
        """
        return self._settled(timeout)["status"]

    def _settled(self, timeout: float | str | None) -> Summary:
        deadline = None if timeout is None else time.monotonic() + seconds(timeout)
        while True:
            left = POLL if deadline is None else min(POLL, max(0.0, deadline - time.monotonic()))
            summary = self._client.wait(self.id, left)
            if summary["status"] not in OPEN or (deadline is not None and time.monotonic() >= deadline):
                return summary

    def __await__(self) -> Generator[Any, None, R]:
        return self._awaited().__await__()

    async def _awaited(self) -> R:
        while await anyio.to_thread.run_sync(self.wait, AWAITED_FOR, abandon_on_cancel=True) in OPEN:
            pass
        return self.result()

    def result(self, timeout: float | str | None = None) -> R:
        """What the workflow returned, once it has.

        Raises RunFailed, RunCancelled (RunTerminated), TimeoutError, or FlowbookError when the run is paused.
        """
        summary = self._settled(timeout)
        status = summary["status"]
        run = f"run {summary['id']}"
        reason = f": {summary['reason']}" if summary["reason"] else ""
        match status:
            case "succeeded":
                return None if summary["result"] is None else self._own.decode(summary["result"])  # type: ignore[return-value]
            case "failed":
                raise RunFailed(failure_text(summary), summary["error"])
            case "cancelled":
                raise RunCancelled(f"{run} was cancelled{reason}")
            case "terminated":
                raise RunTerminated(f"{run} was terminated{reason}")
            case "paused":
                raise FlowbookError(f"{run} is paused{reason}. run.resume() goes on")
            case "continued":
                raise FlowbookError(f"{run} has no result here{reason}")
        raise TimeoutError(f"{run} is still {status} after {spoken(seconds(timeout or 0))}; it goes on without you")

    @property
    def history(self) -> History:
        """Every event so far."""
        return History(self.events_after(0))

    def events_after(self, event: int) -> Iterator[e.Recorded]:
        """The events after this one, read a page at a time: a long history need not fit into memory."""
        while page := self._client.history(self.id, event, PAGE):
            yield from page
            event = page[-1].seq
            if len(page) < PAGE:
                return

    @property
    def events(self) -> History:
        """The same as ``history``."""
        return self.history

    def export(self, path: str | Path) -> Exported:
        """Write the run to one new file, with its code and its values; ``flowbook.import_run`` takes it in elsewhere.

        Gives what the file holds. Raises UserError where the file exists or cannot be written.
        """
        from flowbook.api.keeping import exported

        return exported(self._connection, self.id, path)

    def view(self, at: int | None = None) -> dict[str, Any]:
        """What displays draw, now or as of an event: plain data."""
        return self._client.view(self.id, at)

    def watch(self) -> Iterator[dict[str, Any]]:
        """Views as they change, until the run ends."""
        from flowbook.core.view import patched

        view: dict[str, Any] = {}
        for update in self._client.watch(self.id):
            view = update["view"] if "view" in update else patched(view, update["patch"])
            yield view

    def at(self, event: int) -> Moment:
        """The stack and the values as of an event. Runs no step and changes nothing."""
        found = self._client.at(self.id, event)
        return Moment(self.id, found["event"], tuple(found["stack"]), Values(found["values"], self._own))

    def locals(self) -> Values:
        """The variables and step results the run has now, by name; decoded when asked for."""
        return self._now.values

    @property
    def stack(self) -> tuple[Frame, ...]:
        """Where the code of the run is now, innermost frame first."""
        return self._now.stack

    @property
    def _now(self) -> Moment:
        return self.at(self.summary["seq"])

    def check(self, code: Code) -> Fit:
        """Would the run go on with this notebook, Python file or workflow as it is now? Changes nothing."""
        from flowbook.api import moving

        return moving.check(self._connection, self.id, code)

    def move_to(self, code: Code) -> Fit:
        """Have the run go on with this notebook, Python file or workflow. Raises HistoryMismatch where it cannot."""
        from flowbook.api import moving

        return moving.move(self._connection, self.id, code)

    @property
    def fork(self) -> Fork:
        """``run.fork(step=..., notebook=...)`` starts a new run from this one; ``run.fork.plan(...)`` only plans."""
        from flowbook.api.fork import Fork

        return Fork(self.id, self._connection, lambda id: Run(id, self._connection))

    def timeline(self) -> Any:
        """When each step ran, as a picture."""
        from flowbook import widgets

        return widgets.timeline(self.view())

    def __repr__(self) -> str:
        try:
            return f"<run {one_line(self.summary, self._connection)}>"
        except FlowbookError as error:
            return f"<run {self.id}: {error}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        from flowbook import widgets

        try:
            return widgets.mimebundle(self)
        except FlowbookError:
            return {"text/plain": repr(self)}


def one_line(summary: Summary, connection: Connection) -> str:
    """Id, status, and the result or what went wrong."""
    text = f"{summary['id']} {summary['status']}"
    if summary["status"] == "succeeded" and summary["result"] is not None:
        return f"{text}: {clip(shown(connection.plain(summary['result'])), 80)}"
    if summary["error"] is not None:
        where = f" in {summary['step']}" if summary["step"] else ""
        return f"{text}{where}: {summary['error'].type}: {clip(summary['error'].message, 80)}"
    return f"{text}: {summary['reason']}" if summary["reason"] else text


def failure_text(summary: Summary) -> str:
    """What failed, where, and what to do next."""
    failure = summary["error"]
    if failure is None:
        return f"run {summary['id']} failed"
    step = f"step '{summary['step']}' " if summary["step"] else "the workflow "
    place = failure_place(failure)
    retry = f"fork(step='{summary['step']}')" if summary["step"] else "fork()"
    return f"{step}failed{place}: {failure.type}: {failure.message}. Mend it, then run.{retry} reuses what was done"


def failure_place(failure: Failure) -> str:
    """Where it was raised, in brackets; "" where that is not known."""
    if not failure.frames:
        return ""
    frame = failure.frames[-1]
    return f" (cell {frame.number}, line {frame.line})" if frame.cell else f" ({frame.file}:{frame.line})"
