"""Exceptions to recorded failures and back: what a step's failure is to the code, and how a run ends."""

from __future__ import annotations

import asyncio
import builtins
import linecache
import traceback
from collections.abc import Callable, Sequence
from math import isfinite
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from flowbook.core import events as e
from flowbook.core.failure import Failure, Frame
from flowbook.core.text import shortened
from flowbook.core.value import Value
from flowbook.errors import StepFailed
from flowbook.runtime import sites
from flowbook.wire import codec

if TYPE_CHECKING:
    from flowbook.runtime.stopping import Stopping

T = TypeVar("T")

MAXIMUM_LOCALS = 40

MAXIMUM_MESSAGE = 64 * 1024
"""Characters of an exception's message, and of its traceback, that are recorded."""


class Places:
    """Where lines of a module come from: ``cell(line)`` gives id, number and line in the cell, or None."""

    def __init__(self, file: str, cell: Callable[[int], tuple[str, int, int] | None]) -> None:
        self.file = file
        self.cell = cell

    def frame(self, function: str, file: str, line: int, local: dict[str, Any]) -> Frame:
        """A recorded frame, in the notebook where the line came from one."""
        source = linecache.getline(file, line).strip()
        place = self.cell(line) if file == self.file else None
        shown = {name: codec.shown(value) for name, value in _visible(local)}
        if place is None:
            return Frame(function=function, line=line, file=file, source=source, locals=shown, module_line=line)
        return Frame(
            function=function,
            line=place[2],
            file=file,
            cell=place[0],
            number=place[1],
            source=source,
            locals=shown,
            module_line=line,
        )


NOWHERE = Places("", lambda line: None)


def _visible(local: dict[str, Any]) -> list[tuple[str, Any]]:
    shown = [
        (name, value)
        for name, value in local.items()
        if not name.startswith(("__", "@")) and not isinstance(value, ModuleType)
    ]
    return shown[:MAXIMUM_LOCALS]


Lines = Sequence[tuple[FrameType, int]]
"""Frames, outermost first, with the line each is at."""


def failure_of(
    error: BaseException, places: Places = NOWHERE, *, retryable: bool = True, otherwise: tuple[Frame, ...] = ()
) -> Failure:
    """The recorded form: user frames with their locals, outermost first, and the printable traceback.

    ``otherwise`` are the frames of an error that no line of the user raised.
    """
    if isinstance(error, StepFailed) and isinstance(error.error, Failure):
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        return replace(error.error, text=_shortened(error.error.text + notes)) if notes else error.error
    lines = raised_at(error)
    frames = recorded(users(lines), places) or otherwise or recorded(lines[-3:], places)
    bases = tuple(base.__name__ for base in type(error).__mro__[1:-1] if base not in (Exception, BaseException))
    return Failure(
        type=type(error).__name__,
        message=_shortened(_said(error, str, f"<{type(error).__name__} that cannot be put into words>")),
        frames=frames,
        text=_shortened("".join(traceback.format_exception(error)[-40:])),
        retryable=retryable and _said(error, lambda error: getattr(error, "retryable", True), True) is not False,
        retry_after=_said(error, _retry_after, 0.0),
        bases=bases,
    )


def _shortened(text: str) -> str:
    return shortened(text, MAXIMUM_MESSAGE)


def _said(error: BaseException, ask: Callable[[Any], T], otherwise: T) -> T:
    """What an exception says of itself: its methods are user code, which may fail."""
    try:
        return ask(error)
    except Exception:
        return otherwise


def _retry_after(error: Any) -> float:
    after = getattr(error, "retry_after", 0.0)
    is_time = isinstance(after, int | float) and isfinite(after) and after > 0
    return float(after) if is_time else 0.0


def raised_at(error: BaseException) -> Lines:
    """The lines that an exception came through."""
    return [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]


def standing_at(frame: FrameType | None) -> Lines:
    """The lines at which running code stands, from its innermost frame."""
    return list(reversed(list(traceback.walk_stack(frame)))) if frame is not None else []


def users(lines: Lines) -> Lines:
    """Those of user code."""
    return [(frame, line) for frame, line in lines if not sites.is_library(frame.f_code)]


def recorded(lines: Lines, places: Places) -> tuple[Frame, ...]:
    """Frames as they are recorded, with their locals."""
    return tuple(
        places.frame(frame.f_code.co_name, frame.f_code.co_filename, line, frame.f_locals) for frame, line in lines
    )


_classes: dict[type[BaseException], type[StepFailed]] = {}


def step_failed(event: e.StepFailed, namespace: dict[str, Any], what: str = "step") -> StepFailed:
    """The exception a failed step raises in the workflow.

    It is a ``StepFailed``, and also an instance of the original exception's class where that is a builtin or is
    defined in the workflow's module, so that ``except TimeoutError`` works as it would without a step.
    """
    failure = event.failure
    tries = f" after {event.attempt} attempts" if event.attempt > 1 else ""
    message = f"{what} '{event.step}' failed{tries}: {failure.type}: {failure.message}"
    original = namespace.get(failure.type) or getattr(builtins, failure.type, None)
    made = _class_for(original) if isinstance(original, type) and issubclass(original, Exception) else StepFailed
    # What the original's __init__ wants is not known.
    error = made.__new__(made)
    error.args = (message,)
    error.step, error.type, error.error = event.step, failure.type, failure
    return error


def _class_for(original: type[Exception]) -> type[StepFailed]:
    made = _classes.get(original)
    if made is None:
        try:
            made = type("StepFailed", (StepFailed, original), {"__str__": lambda self: str(self.args[0])})
            made.__new__(made).args = ("",)
        except Exception:
            made = StepFailed
        _classes[original] = made
    return made


def closing(
    task: asyncio.Task[Any], stopping: Stopping, encode: Callable[[Any], Value], places: Places
) -> e.RunCompleted | e.RunFailed | e.RunCancelled:
    """The fact that ends the run, from its finished main task."""
    if stopping.error is not None or (task.cancelled() and stopping.request is not None):
        return stopping.outcome()
    if task.cancelled():
        return e.RunFailed(failure=Failure(type="CancelledError", message="the workflow cancelled itself"))
    error = task.exception()
    if error is None:
        try:
            return e.RunCompleted(value=encode(task.result()))
        except Exception as unsavable:
            error = unsavable
    return failed(error, places)


def failed(error: BaseException, places: Places) -> e.RunFailed:
    """The fact that ends a run because of an exception."""
    cause = _only_cause(error)
    step = cause.step if isinstance(cause, StepFailed) else ""
    return e.RunFailed(failure=failure_of(cause, places), step=step)


def stopped(request: e.CancelRequested) -> e.RunFailed | e.RunCancelled:
    """The fact that ends a run which was asked to stop."""
    if request.cause == "timeout":
        return e.RunFailed(failure=Failure(type="TimeoutError", message=request.reason))
    return e.RunCancelled(reason=request.reason)


def _only_cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
