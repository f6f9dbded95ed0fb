"""Decisions about what a run owes outside: when it is owed and no longer, and what people may do about it.

Part of ``decide``, which alone calls it. What is owed outlives the run: all this may happen to one that has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from flowbook.core import keys
from flowbook.core.events import (
    AnyEvent,
    ObligationFailed,
    ObligationOpened,
    ObligationRetried,
    ObligationSettled,
    Parent,
    Recorded,
)
from flowbook.core.ids import Key, RunId
from flowbook.core.messages import ChildEnded, RetryObligation, SettleObligation, StartRun
from flowbook.core.state import LiveObligation, RunState
from flowbook.core.value import Value
from flowbook.errors import UserError

TAKE_BACK = "flowbook.take_back"
"""The workflow that tries again to take something back: Flowbook's own, run with the code of the run that owes it."""

ARGUMENT = "argument "
"""How its arguments begin that were the step's own."""

Decision = Sequence[AnyEvent]
NO_EVENTS: Decision = ()


def taken_back(history: Iterable[Recorded]) -> list[ObligationOpened]:
    """What a run owed and took back, by itself or in a run that tried again: what it was owed for is gone."""
    owed: dict[Key, ObligationOpened] = {}
    gone = []
    for recorded in history:
        match recorded.event:
            case ObligationOpened() as event:
                owed[event.key] = event
            case ObligationSettled(key=key, outcome="undone" | "cancelled") if key in owed:
                gone.append(owed[key])
            case _:
                pass
    return gone


def called_undos(history: Iterable[Recorded]) -> set[str]:
    """Steps that a run called to take something back, or to see that this has happened, as far as that can be told."""
    owed: dict[Key, ObligationOpened] = {}
    for recorded in history:
        match recorded.event:
            case ObligationOpened() as event:
                owed[event.key] = event
            case ObligationSettled(key=key, outcome="kept"):
                # Where its undo was called all the same, that was the workflow's own doing.
                owed.pop(key, None)
            case _:
                pass
    return {ref.name for event in owed.values() for ref in (event.undo, event.confirm) if ref is not None}


def opened(state: RunState, message: ObligationOpened, now: float) -> Decision:
    """It is owed once."""
    known = message.key in state.obligations or message.key in state.noted
    return NO_EVENTS if state.closed or known else (message,)


def ended(state: RunState, message: ObligationSettled | ObligationFailed, now: float) -> Decision:
    """The run's own code has settled it, or cannot."""
    return (message,) if message.key in state.obligations and not state.closed else NO_EVENTS


def settled(state: RunState, message: SettleObligation, now: float) -> Decision:
    """A person says what became of it. Raises UserError where that is not theirs to say."""
    key, _ = _unattended(state, message.obligation)
    if not message.note.strip():
        raise UserError("say what became of it: a note is recorded with what is settled by hand.")
    return (ObligationSettled(key=key, outcome="settled", note=message.note),)


def retried(state: RunState, message: RetryObligation, now: float) -> Decision:
    """A run of its own tries again. Raises UserError where there is nothing to be tried, or somebody does it now."""
    key, owed = _unattended(state, message.obligation)
    if owed.trying:
        raise UserError(f'run "{owed.trying}" is trying to take "{owed.name}" back now.')
    if owed.opened.undo is None:
        raise UserError(
            f'nothing is recorded that would take "{owed.name}" back. Look what became of it, and settle it.'
        )
    run = RunId(f"{state.run}.retry-{keys.fingerprint(key)}-{owed.tries + 1}")
    return (ObligationRetried(key=key, run=run),)


def trial_ended(state: RunState, message: ChildEnded, now: float) -> Decision:
    """The run that tried again has ended; no events where it was no such run."""
    owed = state.obligations.get(message.key)
    if owed is None or owed.trying != message.run:
        return NO_EVENTS
    if message.failure is not None:
        return (ObligationFailed(key=message.key, failure=message.failure),)
    return (ObligationSettled(key=message.key, outcome="cancelled" if owed.what == "operation" else "undone"),)


def _unattended(state: RunState, text: str) -> tuple[Key, LiveObligation]:
    """The obligation of this key, or of this name, that the run's own code no longer has in hand."""
    if not state.seq:
        raise UserError("no run has this id in this project's history.")
    if not state.obligations:
        raise UserError(f'run "{state.run}" owes nothing outside.')
    named = [key for key, owed in state.obligations.items() if not text or owed.name == text]
    found = [Key(text)] if text in state.obligations else named
    if len(found) != 1:
        known = "; ".join(f'"{owed.name}" has the key {key}' for key, owed in state.obligations.items())
        what = f'"{text}" is {"more than one" if found else "none"} of them' if text else "say which is meant"
        raise UserError(f'run "{state.run}" owes {len(state.obligations)} things outside, and {what}: {known}.')
    owed = state.obligations[found[0]]
    if not (owed.failed or state.closed):
        raise UserError(
            f'run "{state.run}" is {state.status} and takes care of "{owed.name}" itself. Cancel or terminate it first.'
        )
    return found[0], owed


def trial(state: RunState, event: ObligationRetried) -> StartRun:
    """The start of the run that tries again to take something back, with all that is known of it."""
    owed = state.obligations[event.key]
    about = owed.opened
    spec = {
        "run": state.original or state.run,
        "key": about.begins,
        "idempotency_key": owed.reused,
        "what": about.what,
        "work": about.work,
        "undo": about.undo,
        "confirm": about.confirm,
        "every": about.every,
    }
    given = {f"{ARGUMENT}{name}": value for name, value in {**about.arguments, **owed.arguments}.items()}
    return StartRun(
        run=event.run,
        workflow=TAKE_BACK,
        module=state.module,
        place=state.place,
        arguments={"owed": _plain(spec), **given, **({} if owed.result is None else {"result": owed.result})},
        name=f"take back {owed.name}",
        source=state.source,
        seed=event.run,
        parent=Parent(state.run, event.key, "abandon"),
        on_conflict="fail",
        on_closed="reject",
    )


def _plain(data: object) -> Value:
    body = msgspec.json.encode(data)
    return Value(codec="json", data=msgspec.Raw(body), size=len(body))
