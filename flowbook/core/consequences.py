"""What one run's facts mean for other runs: children, parents, signals between runs, and the run that comes after.

Pure, like ``decide``: it names whom to tell what. The engine decides these messages in the same turn and commits
them in the same group, so that no child is started twice and no parent waits for an end that was not told.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from flowbook.core import owing
from flowbook.core.chains import KNOWN_IDS, Address, following
from flowbook.core.events import (
    CLOSING,
    AnyEvent,
    CancelSent,
    ChildStarted,
    ObligationRetried,
    Parent,
    RunCancelled,
    RunCompleted,
    RunContinued,
    RunFailed,
    RunTerminated,
    SignalSent,
    StepCancelled,
)
from flowbook.core.failure import Failure
from flowbook.core.ids import Key, RunId
from flowbook.core.messages import (
    AnyMessage,
    CancelRun,
    ChildEnded,
    SendSignal,
    SendUpdate,
    StartRun,
    TerminateRun,
)
from flowbook.core.state import RunState
from flowbook.core.value import Value

T = TypeVar("T")


class Consequence(NamedTuple):
    """``messages`` for ``run``, or for whom ``to`` says (see ``chains``).

    ``answers``: the key in the sender that is to be told when it is refused, or done.
    """

    run: RunId
    messages: tuple[AnyMessage, ...]
    answers: Key | None = None
    to: Address = "run"


UNWANTED = "its parent no longer wants it"

_FAR_REACHING = frozenset((ChildStarted, ObligationRetried, SignalSent, CancelSent, StepCancelled, *CLOSING))
"""Only these mean something to other runs: quick, for all the others."""


def consequences(state: RunState, event: AnyEvent) -> list[Consequence]:
    """What follows elsewhere from ``event``, which happens to a run in ``state`` (before the event)."""
    if type(event) not in _FAR_REACHING:
        return []
    match event:
        case ChildStarted():
            # What is open under its id is its own, or the last run of that id.
            to: Address = "id" if event.on_conflict == "use_existing" else "run"
            return [Consequence(event.run, (_child(state, event),), event.key, to)]
        case SignalSent():
            signal = SendSignal(event.name, event.value, id=f"{state.run}:{event.key}")
            return [Consequence(event.run, (signal,), event.key, "id")]
        case CancelSent():
            return [Consequence(event.run, (CancelRun(event.reason, event.cause),), event.key, "id")]
        case StepCancelled() if event.key in state.children:
            child = state.children[event.key]
            return [] if child.detached else [_to_child(child.run, CancelRun(UNWANTED, "parent"))]
        case ObligationRetried():
            return [Consequence(event.run, (owing.trial(state, event),), event.key)]
        case RunContinued():
            return [Consequence(event.run, (_next(state, event), *_carried(event)))]
        case RunCompleted():
            return [*_orphans(state), *_to_parent(state, value=event.value)]
        case RunFailed():
            return [*_orphans(state), *_to_parent(state, failure=event.failure)]
        case RunCancelled() | RunTerminated():
            how = "cancelled" if isinstance(event, RunCancelled) else "terminated"
            text = f"child run {state.run} was {how}" + (f": {event.reason}" if event.reason else "")
            failure = Failure(type=type(event).__name__, message=text, retryable=False)
            return [*_orphans(state), *_to_parent(state, failure=failure)]
        case _:
            return []


def _child(state: RunState, event: ChildStarted) -> StartRun:
    return StartRun(
        run=event.run,
        workflow=event.step,
        module=state.module,
        place=state.place,
        arguments=event.arguments,
        name=event.name,
        source=state.source,
        seed=event.run,
        timeout=event.timeout,
        parent=Parent(state.run, event.key, event.close),
        attributes=event.attributes,
        memo=event.memo,
        queue=event.queue,
        priority=event.priority,
        concurrency_key=event.concurrency_key,
        signals=tuple(
            SendSignal(signal.name, signal.value, id=f"{state.run}:{event.key}:{number}")
            for number, signal in enumerate(event.signals)
        ),
        on_conflict=event.on_conflict,
        on_closed="reject",
    )


def _next(state: RunState, event: RunContinued) -> StartRun:
    return StartRun(
        run=following(state.run),
        workflow=state.workflow,
        module=state.module,
        place=state.place,
        arguments=event.arguments,
        name=state.name,
        source=state.source,
        seed=event.run,
        timeout=state.timeout,
        since=state.since if state.timeout else 0.0,
        parent=state.parent,
        awaited=state.awaited,
        continued=state.run,
        request=state.request,
        schedule=state.schedule,
        queue=state.queue,
        priority=state.priority,
        concurrency_key=state.concurrency_key,
        attributes=state.attributes,
        memo=state.memo,
        children=_children(state),
        signals_before=tuple(_remembered(state.signals_before, _heard(state, event))),
        updates_before=_remembered(state.updates_before, dict.fromkeys(state.updates_ended, state.run)),
    )


def _heard(state: RunState, event: RunContinued) -> dict[str, None]:
    """What nobody has read is sent again, with its id."""
    unread = {signal.id for signal in event.signals}
    return {sent: None for sent in state.signals if sent not in unread}


def _remembered(before: dict[str, T], own: dict[str, T]) -> dict[str, T]:
    """The ids of the run that goes on, and the newest of those before it, so that they are KNOWN_IDS."""
    room = max(0, KNOWN_IDS - len(own))
    return {**dict(list(before.items())[len(before) - min(room, len(before)) :]), **own}


def _carried(event: RunContinued) -> list[AnyMessage]:
    """The cancel comes last, when the code waits for the first time: it may have to clean up what it was given."""
    carried: list[AnyMessage] = [SendSignal(signal.name, signal.value, signal.id) for signal in event.signals]
    carried += [SendUpdate(update.id, update.name, update.arguments, update.keywords) for update in event.updates]
    if event.cancel is not None:
        carried.append(CancelRun(event.cancel.reason, event.cancel.cause, carried=True))
    return carried


def _to_parent(state: RunState, value: Value | None = None, failure: Failure | None = None) -> list[Consequence]:
    """Whose child it was: a run that came after the one that called has it among what it inherited, and no result."""
    parents = (state.parent, *state.awaited) if state.parent is not None else state.awaited
    # What a run owes stays its own, whatever it has gone on as.
    to: Address = "run" if state.workflow == owing.TAKE_BACK else "heir"
    return [Consequence(parent.run, (ChildEnded(parent.key, state.run, value, failure),), to=to) for parent in parents]


def _to_child(child: RunId, message: AnyMessage) -> Consequence:
    return Consequence(child, (message,), to="heir")


def _children(state: RunState) -> dict[RunId, str]:
    """Those that the end of the chain means something to, and what."""
    own = {child.run: child.close for child in state.children.values() if child.close != "abandon"}
    return {**state.inherited, **own}


def _orphans(state: RunState) -> list[Consequence]:
    """What becomes of the children of a run that ends."""
    reason = f"its parent {state.run} has ended"
    return [
        _to_child(run, TerminateRun(reason) if close == "terminate" else CancelRun(reason, "parent"))
        for run, close in _children(state).items()
    ]
