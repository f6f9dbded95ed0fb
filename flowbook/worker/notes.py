"""What a running attempt says of itself: all of it is shown at once, and little of it is recorded.

A history has to stay readable, and a step may say how far it is a hundred times a second for a day.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from flowbook.core import events as e
from flowbook.core.ids import Digest
from flowbook.core.value import Value
from flowbook.runtime.commands import StepCall
from flowbook.runtime.context import StepContext
from flowbook.runtime.modules import LoadedModule
from flowbook.store.values import ValueFiles
from flowbook.wire import codec
from flowbook.wire.classes import IMPORTABLE
from flowbook.worker.capture import Collected

SHORTEST, LONGEST = 1.0, 60.0
"""Seconds between two records of an attempt's progress: a tenth of its age, within these bounds.

As old can be what the next attempt is given of a heartbeat's details, where the worker is killed.
"""


def interval(age: float) -> float:
    """Seconds to the next record of an attempt that has run for ``age``."""
    return min(LONGEST, max(SHORTEST, age / 10))


Note = e.StepOutput | e.StepProgress | e.StepHeartbeat
Glance = e.StepProgress | e.StepHeartbeat


class Kept(NamedTuple):
    """Heartbeat details as they were saved; the long part of them becomes a file when they are recorded."""

    value: Value
    body: bytes | None = None


def kept(details: Any, step: str, module: LoadedModule | None) -> Kept:
    """The details as they are now. Raises UnsavableValue."""
    bodies: list[bytes] = []

    def hold(body: bytes) -> Digest:
        bodies.append(body)
        return ValueFiles.digest(body)

    value = codec.encode(details, hold, f"heartbeat details of {step}", module or IMPORTABLE)
    return Kept(value, bodies[0] if bodies else None)


def saved(details: Kept, files: ValueFiles) -> Value:
    """The details, with their file."""
    if details.body is not None:
        files.save(details.body)
    return details.value


class Notes:
    """Of one attempt, which began at this time of the monotonic clock."""

    def __init__(self, call: StepCall, collected: Collected, files: ValueFiles, began: float) -> None:
        self._call = call
        self._collected = collected
        self._files = files
        self._began = began
        self._recorded = 0.0
        self._heard: tuple[Any, Any] = None, None
        self._progress: tuple[float, float, str] | None = None
        self._details: Kept | None = None
        self._is_fresh = False

    def hear(self, context: StepContext) -> None:
        """Take up what the step has said since."""
        progress, details = heard = context.progress, context.details
        if progress is not self._heard[0]:
            self._progress, self._is_fresh = progress, True
        if details is not self._heard[1]:
            self._details, self._is_fresh = details, True
        self._heard = heard

    def due(self, now: float) -> list[Note]:
        """What is to be recorded now: what was printed, and at times how far it is."""
        is_due = not self._recorded or now - self._recorded >= interval(now - self._began)
        return self._shown() + (self._said(now) if is_due else [])

    def glances(self) -> list[Glance]:
        """What is to be shown and not recorded."""
        is_fresh, self._is_fresh = self._is_fresh, False
        found: list[Glance] = []
        if is_fresh and self._progress is not None:
            found.append(self._progress_note(self._progress))
        if is_fresh and self._details is not None:
            found.append(self._details_note(self._details.value))
        return found

    def last(self) -> list[Note]:
        """All that is left, when the attempt has ended."""
        return self._shown(is_last=True) + self._said(time.monotonic())

    def _said(self, now: float) -> list[Note]:
        found: list[Note] = []
        if self._progress is not None:
            found.append(self._progress_note(self._progress))
        if self._details is not None:
            found.append(self._details_note(saved(self._details, self._files)))
        if found:
            self._progress, self._details, self._recorded = None, None, now
        self._is_fresh = False
        return found

    def _shown(self, *, is_last: bool = False) -> list[Note]:
        command = self._call.command
        chunks = self._collected.take(is_last=is_last)
        attempt = self._call.attempt
        return [e.StepOutput(command.key, command.step.name, attempt, chunks, command.item)] if chunks else []

    def _progress_note(self, progress: tuple[float, float, str]) -> e.StepProgress:
        command, (done, total, text) = self._call.command, progress
        return e.StepProgress(command.key, command.step.name, self._call.attempt, done, total, text, command.item)

    def _details_note(self, details: Value) -> e.StepHeartbeat:
        command = self._call.command
        return e.StepHeartbeat(command.key, command.step.name, self._call.attempt, details, command.item)
