"""What a running step knows of itself, and what it can say while it runs: progress, log lines, heartbeats.

All of it is harmless outside a run, where a notebook's cells are run top to bottom by themselves.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from math import isfinite
from typing import Any

from flowbook.core.duration import finite
from flowbook.core.events import Chunk
from flowbook.core.ids import Key, RunId
from flowbook.core.keys import idempotency_key
from flowbook.core.text import writable
from flowbook.core.token import token
from flowbook.errors import UserError
from flowbook.runtime import output


class StepContext:
    """The attempt that is running.

    ``heartbeat_details`` is what the attempt before left by ``heartbeat(details)``, or None; ``started`` is unix
    seconds; ``item`` is the place in a mapped step's list, else None. ``cancelled`` is true once nobody wants the
    result: for loops that can stop between two turns. ``beats`` counts its signs of life. ``keep`` makes what is
    recorded of heartbeat details, ``shield`` a part that is not interrupted. ``original`` as in ``RunStarted``.
    """

    def __init__(
        self,
        run: RunId,
        workflow: str,
        step: str,
        key: Key,
        attempt: int,
        *,
        original: RunId | None = None,
        item: int | None = None,
        heartbeat_details: Any = None,
        started: float = 0.0,
        keep: Callable[[Any], Any] = lambda details: details,
        shield: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.run = run
        self.original = original or run
        self.workflow = workflow
        self.step = step
        self.key = key
        self.attempt = attempt
        self.item = item
        self.heartbeat_details = heartbeat_details
        self.started = started
        self.beats = 0
        self.progress: tuple[float, float, str] | None = None
        self.details: Any = None
        self.cancelled = False
        self.keep = keep
        self.shield = shield

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this step call, and for no other: for services that do a thing once."""
        return idempotency_key(self.original, self.key)

    @property
    def token(self) -> str:
        """What somebody outside needs to finish an ``external`` step. That of any of its attempts will do."""
        return token(self.run, self.key, self.attempt)


running: ContextVar[StepContext | None] = ContextVar("flowbook_step", default=None)
of_process: StepContext | None = None
"""The step that the whole process is there for: also that of threads which it starts."""


def _current() -> StepContext | None:
    return running.get() or of_process


def step_context() -> StepContext:
    """The running attempt: its run, number, idempotency key, token. Raises UserError outside a step.

    In a step that is called outside a workflow, for example by a test, it is one that stands in for a first attempt.
    """
    context = _current()
    if context is None:
        raise UserError("step_context() works only while a step runs; call it inside a @step function")
    return context


@contextmanager
def standing_in(step: str) -> Iterator[None]:
    """A step is called outside a run: it is an attempt of nobody's. Inside a step it is a part of that."""
    if _current() is not None:
        yield
        return
    run = RunId(f"outside-{random.getrandbits(64):016x}")
    known = running.set(StepContext(run, "", step, Key(f"/{step}"), 1))
    try:
        yield
    finally:
        running.reset(known)


def progress(done: float, total: float = 0.0, text: str = "") -> None:
    """Say how far the step is; shown live. ``total`` 0 means not known. Counts as a heartbeat."""
    context = _current()
    if context is not None:
        context.progress = (_number(done), _number(total or 0.0), writable(str(text)))
        context.beats += 1


def _number(given: float) -> float:
    """A share of nothing is no number, and no reason for a step to fail."""
    number = float(given)
    return number if isfinite(number) else 0.0


def log(*words: Any) -> None:
    """Write a line into the step's log, which is recorded with it; outside a run, to stderr. Counts as a heartbeat."""
    text = " ".join(map(str, words)) + "\n"
    send = output.current()
    if send is None:
        sys.stderr.write(text)
        return
    send(Chunk(stream="log", text=text))
    context = _current()
    if context is not None:
        context.beats += 1


def heartbeat(details: Any = None) -> None:
    """Say that the step is alive. ``details`` reach the next attempt, should this one be lost or fail.

    They are saved as they are now. Raises UnsavableValue where that cannot be.
    """
    context = _current()
    if context is not None:
        if details is not None:
            context.details = context.keep(details)
        context.beats += 1


def uninterrupted() -> AbstractContextManager[None]:
    """A part of a plain (not ``async``) step that is not broken off when the step is stopped::

        with uninterrupted():
            move(draft, final)
            note(final)

    The step is stopped at the end of it. An ``async`` step is stopped at an ``await`` only.
    """
    context = _current()
    return nullcontext() if context is None else context.shield()


class RetryAfter(Exception):
    """Raise it in a step to have it tried again after this time, as its retry policy allows: ``RetryAfter("30s")``."""

    def __init__(self, delay: float | str, message: str = "") -> None:
        super().__init__(message or f"try again after {delay}")
        self.retry_after = finite(delay)


class NonRetryable(Exception):
    """Raise it in a step that is not to be tried again, whatever its retry policy allows.

    An exception of your own does the same with the attribute ``retryable = False``.
    """

    retryable = False
