"""What must hold of every world, whatever went wrong in it. Each check raises ``Broken`` with what it found."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flowbook.core import events as e
from flowbook.core.chains import root
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
    (e.CancelSent,),
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
        _check_left(run, history)


Chain = list[list[e.Recorded]]
"""The histories of one id, in their order: each but the last went on as the next."""

PATIENCE = 150.0
"""Seconds within which a run whose time is up has cleaned up."""


def check_chain(
    run: str, chain: Chain, cancelled: set[str], terminated: set[str], ended: list[tuple[str, int]]
) -> None:
    """Who was told that it is asked to end sees it end; who was told that it has ended was told the truth."""
    last = chain[-1]
    kinds = {type(recorded.event) for recorded in last}
    if run in terminated:
        told = {e.RunTerminated, e.TerminateRequested}
        require(bool(kinds & told), f"{run}: an acknowledged termination did not reach the last of its runs")
    if run in cancelled and run not in terminated:
        told = {e.RunCancelled, e.CancelRequested}
        require(bool(kinds & told), f"{run}: an acknowledged cancel did not reach the last of its runs")
    events = sum(map(len, chain))
    for of, count in ended:
        require(of != run or count == events, f"{run} was said to have ended after {count} events; it did at {events}")


def check_updates(run: str, chain: Chain, answered: set[str]) -> None:
    """An update is handled once in a chain, and none is lost because its run goes on."""
    handled: Counter[str] = Counter()
    for history in chain:
        is_asked = any(isinstance(recorded.event, e.CancelRequested) for recorded in history)
        goes_on = isinstance(history[-1].event, e.RunContinued | e.RunCompleted)
        for recorded in history:
            event = recorded.event
            if isinstance(event, e.UpdateFailed) and event.failure.type == "RunClosed":
                require(is_asked or not goes_on, f"{run}: update {event.id} was cut short: {event}")
            elif isinstance(event, e.UpdateCompleted | e.UpdateFailed):
                handled[event.id] += 1
    require(all(count == 1 for count in handled.values()), f"{run}: an update was handled twice: {handled}")
    require(answered <= handled.keys(), f"{run}: updates {answered - handled.keys()} were answered and not handled")


def check_heard(run: str, heard: list[int], acknowledged: set[int], last: list[e.Recorded]) -> None:
    """A signal handler has heard everything once, but for what came when the code had returned."""
    require(len(heard) == len(set(heard)), f"{run} heard a signal twice: {heard}")
    unread = fold(last[:-1]).unread.get("bump", 0)
    came = [r.event for r in last if isinstance(r.event, e.SignalReceived) and r.event.name == "bump"]
    late = {codec.decode(event.value, _unloaded) for event in came[len(came) - unread :]}
    missed = acknowledged - set(heard) - late
    require(not missed, f"{run}: acknowledged signals {missed} were not heard, only {heard}, and {late} too late")


def check_time(run: str, chain: Chain, limit: float, patience: float) -> None:
    """The time of a run is that of all it goes on as."""
    taken = chain[-1][-1].time - chain[0][0].time
    ending = chain[-1][-1].event
    if limit:
        require(taken < limit + patience, f"{run} took {taken} of {limit} s")
    if isinstance(ending, e.RunFailed) and ending.failure.type == "TimeoutError":
        require(taken >= limit, f"{run} had {limit} s, and they were up after {taken}")


def check_kept(child: str, histories: dict[RunId, list[e.Recorded]], chain: Chain) -> None:
    """A child lives until the last of its parent's runs has ended, and no longer."""
    history = histories.get(RunId(child))
    if history is None:
        began = [r for r in chain[0] if isinstance(r.event, e.ChildStarted) and r.event.run == child]
        require(not began, f"{child} has no history")
        return
    asked = [r for r in history if isinstance(r.event, e.CancelRequested | e.RunTerminated)]
    require(bool(asked), f"{child} outlived its parent: {history[-1]}")
    require(asked[0].time >= chain[-1][-1].time, f"{child} was ended at {asked[0]}, before {chain[-1][-1]}")


AT_ONCE = "enough, at once"
"""The reason of a termination that leaves what is owed."""


def was_left(ending: e.AnyEvent) -> bool:
    """True where a run was ended without a look at what it owes."""
    return isinstance(ending, e.RunTerminated) and ending.reason == AT_ONCE


def _check_obligations(run: str, history: list[e.Recorded]) -> None:
    """A run that has ended owes nothing outside, except where nobody can know what it has begun there."""
    if was_left(history[-1].event):
        return
    opened = [r.event.key for r in history if isinstance(r.event, e.ObligationOpened)]
    settled = {r.event.key for r in history if isinstance(r.event, e.ObligationSettled)}
    failed = {r.event.key: r.event.failure for r in history if isinstance(r.event, e.ObligationFailed)}
    unknown = {key for key, failure in failed.items() if failure.type == "OutcomeUnknown"}
    require(set(opened) <= settled | unknown, f"{run} ended and owes {set(opened) - settled - unknown}: {failed}")


def _check_left(run: str, history: list[e.Recorded]) -> None:
    """Tasks that are left when the code returns have cleaned up before the end, where nobody has asked for that."""
    events = [recorded.event for recorded in history]
    if isinstance(events[-1], e.RunTerminated) or any(isinstance(event, e.CancelRequested) for event in events):
        return
    done = Counter(event.step for event in events if isinstance(event, e.StepCompleted))
    require(
        done["settle_in"] <= done["clear_up"],
        f"{run}: of {done['settle_in']} tasks that were left only {done['clear_up']} have cleaned up",
    )


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
        if upto or not isinstance(ending, e.RunCompleted | e.RunFailed | e.RunCancelled | e.RunContinued):
            return
        asked = [
            item
            for item in execution.items
            if not isinstance(item, e.SignalDropped | e.TimerCancelled | e.StepCancelled | e.StepStopRequested)
        ]
        require(not execution.calls, f"{run}: replay asks for steps {[call.key for call in execution.calls]}")
        said = [f"{type(item).__name__} {getattr(item, 'key', '')}" for item in asked]
        if isinstance(ending, e.RunFailed) and ending.failure.type == "TimeoutError":
            # The engine lets no run go on that was told that its time is up.
            ending = asked[0] if [type(item) for item in asked] == [e.RunContinued] else ending
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


def stored_events(store: Any, id: str) -> int:
    """How many events the runs of this id have."""
    runs = [run for run, _ in store.open_runs()] + store.closed_ids()
    return sum(len(store.history(run)) for run in runs if root(run) == id)


def stored_histories(store: Any) -> dict[RunId, list[e.Recorded]]:
    """Every run of a ``MemoryStore``."""
    runs = [run for run, _ in store.open_runs()] + store.closed_ids()
    return {run: [decode_recorded(record) for record in store.history(run)] for run in sorted(runs)}
