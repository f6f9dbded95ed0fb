"""What must hold of every world, whatever went wrong in it. Each check raises ``Broken`` with what it found."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flowbook.core import events as e
from flowbook.core.evolve import fold
from flowbook.core.ids import Digest, RunId
from flowbook.engine.host import Host
from flowbook.errors import HistoryMismatch
from flowbook.runtime.definitions import Workflow
from flowbook.runtime.execution import Execution
from flowbook.store.base import Store, decode_recorded
from flowbook.wire import codec


class Broken(AssertionError):
    """An invariant does not hold."""


def require(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(what)


_ONCE: tuple[tuple[type, ...], ...] = (
    (e.StepCompleted, e.StepFailed, e.StepReused),
    (e.TimerStarted,),
    (e.TimerFired, e.TimerCancelled),
    (e.SignalAwaited,),
    (e.SignalDropped,),
    (e.ChildStarted,),
    (e.SignalSent,),
    (e.StepScheduled,),
    (e.MapStarted,),
    (e.ObligationOpened,),
    (e.ObligationSettled,),
)


def check_history(run: str, history: list[e.Recorded]) -> None:
    """The history by itself: numbered, begun once, ended once and last, nothing settled twice."""
    require(bool(history), f"{run}: no history")
    require([r.seq for r in history] == list(range(1, len(history) + 1)), f"{run}: the numbers have a gap")
    require([r.time for r in history] == sorted(r.time for r in history), f"{run}: time runs backwards")
    require(isinstance(history[0].event, e.RunStarted), f"{run}: it begins with {history[0].event}")
    require(not any(isinstance(r.event, e.RunStarted) for r in history[1:]), f"{run}: it is started twice")
    closing = [r.seq for r in history if isinstance(r.event, e.CLOSING)]
    require(closing in ([], [len(history)]), f"{run}: closed at {closing} of {len(history)}")
    for kinds in _ONCE:
        keys = Counter(r.event.key for r in history if isinstance(r.event, kinds))  # type: ignore[union-attr]
        twice = [key for key, count in keys.items() if count > 1]
        require(not twice, f"{run}: {'/'.join(kind.__name__ for kind in kinds)} twice for {twice}")
    ids = Counter(r.event.id for r in history if isinstance(r.event, e.SignalReceived) and r.event.id)
    require(all(count == 1 for count in ids.values()), f"{run}: a signal was taken twice: {ids}")
    updates = Counter(r.event.id for r in history if isinstance(r.event, e.UpdateCompleted | e.UpdateFailed))
    require(all(count == 1 for count in updates.values()), f"{run}: an update was ended twice: {updates}")
    _check_attempts(run, history)
    if closing:
        _check_obligations(run, history)


def _check_obligations(run: str, history: list[e.Recorded]) -> None:
    """A run that has ended owes nothing outside."""
    opened = [r.event.key for r in history if isinstance(r.event, e.ObligationOpened)]
    settled = {r.event.key for r in history if isinstance(r.event, e.ObligationSettled)}
    require(set(opened) <= settled, f"{run} ended and owes {set(opened) - settled}")


def _check_attempts(run: str, history: list[e.Recorded]) -> None:
    """Attempts of a step are numbered upwards, and nothing is said about a step that has ended."""
    attempt: dict[str, int] = {}
    ended: set[str] = set()
    for recorded in history:
        event = recorded.event
        if isinstance(event, e.StepStarted | e.StepAttemptFailed | e.StepCompleted | e.StepFailed):
            require(event.key not in ended, f"{run}: {event} after the end of the step")
            require(event.attempt >= attempt.get(event.key, 0), f"{run}: {event} after a later attempt")
            attempt[event.key] = event.attempt
            if isinstance(event, e.StepCompleted | e.StepFailed):
                ended.add(event.key)


def check_recovery(host: Host, store: Store) -> None:
    """The engine's state of each open run is exactly what its stored history adds up to."""
    for run in host.engine.runs.open.values():
        stored = store.history(run.id)
        require(run.records[: run.committed] == stored, f"{run.id}: the engine has another history than the store")
        require(run.state == fold(map(decode_recorded, stored)), f"{run.id}: the engine's state is not the fold")


def check_replay(run: str, history: list[e.Recorded], workflow: Workflow[..., Any], upto: int = 0) -> None:
    """Re-execution fits the history; of a finished one it ends the same way and asks for nothing else."""
    ending = history[-1].event
    shown = history[:upto] if upto else history[:-1] if isinstance(ending, e.CLOSING) else history
    execution = Execution(workflow, save=_unsaved, load=_unloaded)
    try:
        execution.begin(shown)
        if upto or not isinstance(ending, e.RunCompleted | e.RunFailed | e.RunCancelled):
            return
        asked = [
            item
            for item in execution.items
            if not isinstance(item, e.SignalDropped | e.TimerCancelled | e.StepCancelled)
        ]
        require(not execution.calls, f"{run}: replay asks for steps {[call.key for call in execution.calls]}")
        # What is said after the end is said to nobody.
        end = next((at for at, item in enumerate(asked, 1) if isinstance(item, e.CLOSING)), len(asked))
        del asked[end:]
        said = [f"{type(item).__name__} {getattr(item, 'key', '')}" for item in asked]
        require(len(asked) == 1 and type(asked[0]) is type(ending), f"{run}: replay ends with {said}, not {ending}")
        if isinstance(ending, e.RunCompleted):
            same = codec.fingerprint(asked[0].value) == codec.fingerprint(ending.value)  # type: ignore[union-attr]
            require(same, f"{run}: replay returns {asked[0]}, not {ending}")
    except HistoryMismatch as error:
        raise Broken(f"{run}: event {len(shown)} of {len(history)} does not fit the code: {error}") from error
    finally:
        execution.close()


def _unsaved(data: bytes) -> Digest:
    raise Broken("a value of the simulation is too long for the history")


def _unloaded(digest: Digest) -> bytes:
    raise Broken("a value of the simulation is in a file")


def stored_histories(store: Any) -> dict[RunId, list[e.Recorded]]:
    """Every run of a ``MemoryStore``."""
    runs = [run for run, _ in store.open_runs()] + store.closed_ids()
    return {run: [decode_recorded(record) for record in store.history(run)] for run in sorted(runs)}
