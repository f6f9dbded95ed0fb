"""What a history expects of the code that re-executes it, and what a fork may take from its origin.

Both are built once from recorded events; neither touches the loop.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from flowbook.core import events as e
from flowbook.core.ids import Digest, Key
from flowbook.core.keys import idempotency_key
from flowbook.core.owing import called_undos, taken_back
from flowbook.core.state import output_mark
from flowbook.core.value import Value
from flowbook.errors import HistoryMismatch


class Asked(NamedTuple):
    """A command that the history speaks of. ``digest`` tells what it was asked for; "" where that is not recorded."""

    kind: str
    name: str
    digest: str = ""

    def __str__(self) -> str:
        if self.kind == "timer":
            return self.name or "a timer"
        return f"{self.kind} '{self.name}'"


class Expectations:
    """Keys the history speaks of, until the code has asked for them; and what is known of open attempts."""

    def __init__(self, history: Iterable[e.Recorded]) -> None:
        self.asked: dict[Key, Asked] = {}
        self.noted: set[tuple[str, Key]] = set()
        self.attempts: dict[Key, int] = {}
        self.retry_at: dict[Key, float] = {}
        self.heartbeats: dict[Key, Value] = {}
        self.names: dict[Key, Key] = {}
        self._queued: set[Key] = set()
        self.closed = False
        self.is_past = False
        for recorded in history:
            self._learn(recorded.event)

    def _learn(self, event: e.AnyEvent) -> None:
        learn = _LEARN.get(type(event))
        if learn is not None:
            learn(self, event)

    def _ended(self, event: e.StepCompleted | e.StepFailed | e.StepReused) -> None:
        self._ask(event.key, Asked("step", event.step, event.digest))
        self.noted.add(("step cancelled", event.key))

    def _started(self, event: e.StepStarted) -> None:
        self._ask(event.key, Asked("step", event.step, event.digest))
        self.attempts[event.key] = event.attempt
        self.retry_at.pop(event.key, None)

    def _attempt_failed(self, event: e.StepAttemptFailed) -> None:
        self._ask(event.key, Asked("step", event.step))
        self.attempts[event.key] = event.attempt
        self.retry_at[event.key] = event.retry_at
        self.taken_back(event.key)

    def _scheduled(self, event: e.StepScheduled) -> None:
        self._queued.add(event.key)
        self._sent(event)

    def _sent(self, event: e.StepScheduled | e.ChildStarted | e.SignalSent | e.CancelSent | e.StepWaiting) -> None:
        self._ask(event.key, Asked("step", event.step, event.digest))
        self.noted.add(("scheduled", event.key))

    def _timer(self, event: e.TimerStarted) -> None:
        self._ask(event.key, Asked("timer", event.label, repr(event.due)))
        self.noted.add(("timer", event.key))

    def _signal(self, event: e.SignalAwaited) -> None:
        self._ask(event.key, Asked("signal", event.name))
        self.noted.add(("signal", event.key))

    def _obligation(self, event: e.ObligationOpened) -> None:
        self._ask(event.key, Asked("obligation", event.name))
        self.noted.add(("obligation", event.key))

    def _heartbeat(self, event: e.StepHeartbeat) -> None:
        self.heartbeats[event.key] = event.details

    def _update_ended(self, event: e.UpdateCompleted | e.UpdateFailed) -> None:
        self.noted.add(("update", Key(event.id)))

    def _patch(self, event: e.PatchMarked) -> None:
        self.noted.add(("patch", Key(event.id)))

    def _output(self, event: e.RunOutput) -> None:
        self.noted.add(("output", output_mark(event.after)))

    def _moved(self, event: e.RunMoved) -> None:
        self.names = dict(event.names)

    def _close(self, event: e.AnyEvent) -> None:
        self.closed = True

    def _ask(self, key: Key, asked: Asked) -> None:
        known = self.asked.get(key)
        if known is None or (asked.digest and not known.digest):
            self.asked[key] = asked

    def handed_out(self, key: Key) -> None:
        """The step's result will come from outside, until its attempt fails."""
        self.noted.add(("scheduled", key))

    def taken_back(self, key: Key) -> None:
        """An attempt has failed: unless a queue has the step, the next one is this worker's."""
        if key not in self._queued:
            self.noted.discard(("scheduled", key))

    def like(self, path: str, wanted: Asked) -> Key | None:
        """The first command that is the same but for where it is asked for, if possible by the same task."""
        same = [key for key, asked in self.asked.items() if is_like(asked, wanted)]
        near = (key for key in same if key.rpartition("/")[0] == path)
        return next(near, same[0] if same else None)

    def is_noted(self, what: str, key: Key) -> bool:
        """True when the history has this note already, so it is not to be reported again."""
        return (what, key) in self.noted

    def unmet(self, doing: str, advice: str) -> HistoryMismatch:
        """The error that says what the history holds and the code never asked for; ``doing`` is what it does
        instead.
        """
        key, asked = next(iter(self.asked.items()))
        return mismatch(
            f"the history has {asked} here, and the code did not ask for it: {doing}",
            key,
            recorded=str(asked),
            asked=doing,
            advice=advice,
        )


def _notes(what: str) -> Callable[[Expectations, Any], None]:
    def note(expectations: Expectations, event: Any) -> None:
        expectations.noted.add((what, event.key))

    return note


_LEARN: dict[type, Callable[[Expectations, Any], None]] = {
    **dict.fromkeys((e.StepCompleted, e.StepFailed, e.StepReused), Expectations._ended),
    e.StepStarted: Expectations._started,
    e.StepAttemptFailed: Expectations._attempt_failed,
    e.StepScheduled: Expectations._scheduled,
    **dict.fromkeys((e.ChildStarted, e.SignalSent, e.CancelSent, e.StepWaiting), Expectations._sent),
    e.StepCancelled: _notes("step cancelled"),
    e.StepStopRequested: _notes("stop asked"),
    e.StepHeartbeat: Expectations._heartbeat,
    e.StepSkipped: _notes("skipped"),
    e.TimerStarted: Expectations._timer,
    e.TimerCancelled: _notes("timer dropped"),
    e.SignalAwaited: Expectations._signal,
    e.SignalDropped: _notes("signal dropped"),
    **dict.fromkeys((e.UpdateCompleted, e.UpdateFailed), Expectations._update_ended),
    e.AttributesSet: _notes("attributes"),
    e.PatchMarked: Expectations._patch,
    e.RunOutput: Expectations._output,
    e.RunMoved: Expectations._moved,
    e.ObligationOpened: Expectations._obligation,
    **dict.fromkeys((e.ObligationSettled, e.ObligationFailed), _notes("obligation ended")),
    e.MapStarted: _notes("map"),
    **dict.fromkeys(
        (e.RunCompleted, e.RunFailed, e.RunCancelled, e.RunTerminated, e.RunContinued), Expectations._close
    ),
}
"""What is learned from an event; nothing from the others. By type: this is done for every event of every activation."""


def is_like(asked: Asked, wanted: Asked) -> bool:
    """True where the history's command is this one, as far as is recorded."""
    if asked.kind == wanted.kind == "timer":
        return asked.digest == wanted.digest
    same = (asked.kind, asked.name) == (wanted.kind, wanted.name)
    return same and (asked.digest == wanted.digest or not asked.digest)


SAME_CODE = (
    "A workflow must do the same each time it is re-executed: move what differs into steps, or use now(), random(), "
    "uuid4() and record()"
)
OTHER_CODE = "Put the edit behind 'if patched(\"...\"):' so that this run keeps the old branch, or fork the run"


def mismatch(reason: str, key: Key, *, recorded: str, asked: str, advice: str = SAME_CODE) -> HistoryMismatch:
    """The error for a difference between history and code."""
    difference: dict[str, Any] = {"key": key, "recorded": recorded, "asked": asked}
    return HistoryMismatch(f"{reason} (at {key}). {advice}", difference)


class Reuse:
    """Results of the run this one was forked from, taken in the order they had there.

    What the fork is to run again is left out, and so is what its own history has taken already, and what was undone.
    """

    def __init__(self, recorded: Sequence[e.Recorded], origin: e.Origin, history: Iterable[e.Recorded]) -> None:
        self.origin = origin.run
        self._last = origin.seq
        first = recorded[0].event
        self._original = (isinstance(first, e.RunStarted) and first.original) or origin.run
        gone = taken_back(recorded)
        self._undone = {owed.begins for owed in gone}
        # Of what is done in rounds, it is not recorded which of them was undone.
        rounds = {owed.work.name for owed in gone if owed.work and not owed.begins and owed.work != owed.undo}
        self._rerun = frozenset(origin.rerun) | rounds
        self._undos = called_undos(recorded)
        own = [mine.event for mine in history]
        self._steps_taken = {event.seq for event in own if isinstance(event, e.StepReused)}
        self._signals_taken = {event.id for event in own if isinstance(event, e.SignalReceived)}
        self._entries: list[e.Recorded] = []
        self._by_key: dict[Key, int] = {}
        self._by_content: dict[tuple[str, Digest], deque[int]] = {}
        self._signals: deque[int] = deque()
        self._matched: list[tuple[int, Key]] = []
        self._taken: set[int] = set()
        for entry in recorded:
            self._learn(entry)

    def _learn(self, entry: e.Recorded) -> None:
        event, index = entry.event, len(self._entries)
        if entry.seq > self._last:
            return
        if entry.seq in self._steps_taken or self._signal_id(entry) in self._signals_taken:
            return
        if getattr(event, "step", "") in self._rerun:
            return
        match event:
            case e.StepCompleted() | e.StepReused():
                if event.key in self._undone:
                    return
                self._by_key[event.key] = index
                # The result of an undo is none for code that does the same for itself, elsewhere.
                if event.step not in self._undos:
                    self._by_content.setdefault((event.step, event.digest), deque()).append(index)
            case e.TimerFired():
                self._by_key[event.key] = index
            case e.SignalReceived():
                self._signals.append(index)
            case _:
                return
        self._entries.append(entry)

    def _signal_id(self, entry: e.Recorded) -> str:
        return f"{self.origin}:{entry.seq}"

    def match_step(self, key: Key, step: str, digest: Digest) -> bool:
        """Look for a result for this command, by key and then by content; True when one will be taken."""
        index = self._by_key.get(key)
        if index is not None and index not in self._taken:
            event = self._entries[index].event
            if isinstance(event, (e.StepCompleted, e.StepReused)) and (event.step, event.digest) == (step, digest):
                return self._match(index, key)
        for candidate in self._by_content.get((step, digest), ()):
            if candidate not in self._taken:
                return self._match(candidate, key)
        return False

    def match_timer(self, key: Key) -> bool:
        """True when the timer had fired in the origin."""
        index = self._by_key.get(key)
        if index is None or index in self._taken or not isinstance(self._entries[index].event, e.TimerFired):
            return False
        return self._match(index, key)

    def _match(self, index: int, key: Key) -> bool:
        self._taken.add(index)
        heapq.heappush(self._matched, (index, key))
        return True

    def _called_as(self, event: e.StepCompleted | e.StepReused, key: Key) -> str:
        """The idempotency key of the call that gave the result; "" where it follows from where it is found."""
        known = event.called_as() if isinstance(event, e.StepReused) else idempotency_key(self._original, event.key)
        return "" if known == idempotency_key(self.origin, key) else known

    def next(self) -> e.StepReused | e.TimerFired | e.SignalReceived | None:
        """The next fact to take, or None when nothing that is waited for is left."""
        if self._signals and (not self._matched or self._signals[0] < self._matched[0][0]):
            entry = self._entries[self._signals.popleft()]
            assert isinstance(entry.event, e.SignalReceived)
            return e.SignalReceived(name=entry.event.name, value=entry.event.value, id=self._signal_id(entry))
        if not self._matched:
            return None
        index, key = heapq.heappop(self._matched)
        entry = self._entries[index]
        match entry.event:
            case e.TimerFired(due=due):
                return e.TimerFired(key=key, due=due)
            case e.StepCompleted() | e.StepReused() as event:
                return e.StepReused(
                    key=key,
                    step=event.step,
                    value=event.value,
                    digest=event.digest,
                    run=self.origin,
                    seq=entry.seq,
                    item=event.item,
                    site=event.site,
                    idempotency_key=self._called_as(event, key),
                )
            case _:
                raise AssertionError(entry)
