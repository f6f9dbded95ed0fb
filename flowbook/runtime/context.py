"""What a running step knows of itself, and what it can say while it runs: progress, log lines, heartbeats.

All of it is harmless outside a run, where a notebook's cells are run top to bottom by themselves.
"""

from __future__ import annotations

import hashlib
import sys
from contextvars import ContextVar
from typing import Any

from flowbook.core.duration import seconds
from flowbook.core.events import Chunk
from flowbook.core.ids import Key, RunId
from flowbook.core.token import token
from flowbook.errors import UserError
from flowbook.runtime import output


def idempotency_key(run: RunId, key: Key) -> str:
    """What a step call of a run is known by to services that do a thing once."""
    return hashlib.blake2b(f"{run}\0{key}".encode(), digest_size=16).hexdigest()


class StepContext:
    """The attempt that is running.

    ``heartbeat_details`` is what the attempt before left by ``heartbeat(details)``, or None; ``started`` is unix
    seconds; ``item`` is the place in a mapped step's list, else None. ``cancelled`` is true once nobody wants the
    result: for loops that can stop between two turns. ``beats`` counts its signs of life.
    """

    def __init__(
        self,
        run: RunId,
        workflow: str,
        step: str,
        key: Key,
        attempt: int,
        *,
        item: int | None = None,
        heartbeat_details: Any = None,
        started: float = 0.0,
    ) -> None:
        self.run = run
        self.workflow = workflow
        self.step = step
        self.key = key
        self.attempt = attempt
        self.item = item
        self.heartbeat_details = heartbeat_details
        self.started = started
        self.beats = 0
        self.progress: tuple[float, float, str] | None = None
        self.details: tuple[Any] | None = None
        self.cancelled = False

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this step call, and for no other: for services that do a thing once."""
        return idempotency_key(self.run, self.key)

    @property
    def token(self) -> str:
        """What somebody outside needs to finish this attempt of an ``external`` step."""
        return token(self.run, self.key, self.attempt)


running: ContextVar[StepContext | None] = ContextVar("flowbook_step", default=None)


def step_context() -> StepContext:
    """The running attempt: its run, number, idempotency key, token. Raises UserError outside a step of a run."""
    context = running.get()
    if context is None:
        raise UserError("step_context() works only while a step runs in a workflow; call it inside a @step function")
    return context


def progress(done: float, total: float = 0.0, text: str = "") -> None:
    """Say how far the step is; shown live. ``total`` 0 means not known. Counts as a heartbeat."""
    context = running.get()
    if context is not None:
        context.progress = (float(done), float(total or 0.0), text)
        context.beats += 1


def log(*words: Any) -> None:
    """Write a line into the step's log, which is recorded with it; outside a run, to stderr. Counts as a heartbeat."""
    text = " ".join(map(str, words)) + "\n"
    send = output.sink.get()
    if send is None:
        sys.stderr.write(text)
        return
    send(Chunk(stream="log", text=text))
    context = running.get()
    if context is not None:
        context.beats += 1


def heartbeat(details: Any = None) -> None:
    """Say that the step is alive. ``details`` reach the next attempt, should this one be lost or fail."""
    context = running.get()
    if context is not None:
        context.beats += 1
        if details is not None:
            context.details = (details,)


class RetryAfter(Exception):
    """Raise it in a step to have it tried again after this time, as its retry policy allows: ``RetryAfter("30s")``."""

    def __init__(self, delay: float | str, message: str = "") -> None:
        super().__init__(message or f"try again after {delay}")
        self.retry_after = seconds(delay)
