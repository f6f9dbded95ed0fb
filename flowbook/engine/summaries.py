"""Runs in a few words, for those who ask for one or list many."""

from __future__ import annotations

from flowbook.core.affairs import said
from flowbook.core.events import (
    Recorded,
    RunCancelled,
    RunCompleted,
    RunContinued,
    RunFailed,
    RunStarted,
    RunTerminated,
)
from flowbook.core.evolve import fold
from flowbook.core.ids import Key
from flowbook.core.state import LiveObligation, RunState
from flowbook.store.base import ClosedRun, decode_recorded
from flowbook.wire.calls import OriginOfRun, Owed, Pending, Summary


def summary(state: RunState, closing: Recorded | None) -> Summary:
    """The run in this state, which ``closing`` has ended."""
    found = _summary(state, [] if closing is not None else _waits(state))
    return found if closing is None else _ended(found, closing)


def _waits(state: RunState) -> list[Pending]:
    """What an open run waits for."""
    return [
        *(
            Pending(key=key, kind="timer", name=timer.label, due=timer.due, since=timer.since)
            for key, timer in state.timers.items()
        ),
        *(
            Pending(key=key, kind="signal", name=waiter.name, due=None, since=waiter.since)
            for key, waiter in state.waiters.items()
        ),
        *(
            Pending(key=key, kind="child", name=child.run, due=None, since=child.since)
            for key, child in state.children.items()
        ),
        *(
            Pending(key=key, kind="outside", name=live.step, due=live.expires or None, since=live.started)
            for key, live in state.steps.items()
            if live.waiting
        ),
    ]


def _summary(state: RunState, waits: list[Pending]) -> Summary:
    return Summary(
        id=state.run,
        workflow=state.workflow,
        name=state.name,
        status=state.status,
        result=None,
        error=None,
        step="",
        reason=state.paused,
        started=state.started,
        ended=state.ended if state.closed else None,
        seq=state.seq,
        module=state.module,
        source=state.source,
        origin=OriginOfRun(run=state.origin.run, seq=state.origin.seq) if state.origin else None,
        parent=state.parent.run if state.parent else "",
        continued=state.continued,
        attributes=state.attributes,
        memo=state.memo,
        obligations=[_owed(key, owed) for key, owed in state.obligations.items()],
        waits=waits,
    )


def _owed(key: Key, owed: LiveObligation) -> Owed:
    about = owed.opened
    return Owed(
        key=key,
        name=owed.name,
        what=owed.what,
        since=owed.since,
        failed=owed.failed,
        step=about.work.name if about.work is not None else "",
        arguments={**about.arguments, **owed.arguments},
        result=owed.result,
        undo=about.undo.name if about.undo is not None else "",
        error=said(owed.failure) if owed.failure is not None else "",
        trying=owed.trying,
    )


def summary_of(run: ClosedRun) -> Summary:
    """A closed run that owes nothing, from its first event and the one that closed it."""
    first, last = decode_recorded(run.first), decode_recorded(run.last)
    assert isinstance(first.event, RunStarted)
    return summary(fold([first, last]), last)


def _ended(summary: Summary, last: Recorded) -> Summary:
    match last.event:
        case RunCompleted():
            summary["result"] = last.event.value
        case RunFailed():
            summary["error"] = last.event.failure
            summary["step"] = last.event.step
        case RunCancelled() | RunTerminated():
            summary["reason"] = last.event.reason
        case RunContinued():
            summary["reason"] = f"it went on as {last.event.run or 'another run, where it was imported from'}"
    return summary
