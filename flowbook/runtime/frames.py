"""The virtual call stack and the named values of an execution, as a person wants to see them.

``Task.get_stack`` shows one frame of a suspended task; here the chain of awaited coroutines is walked instead.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType, ModuleType
from typing import Any

from flowbook.core import events as e
from flowbook.core.failure import Frame
from flowbook.core.value import Value, is_nothing
from flowbook.errors import FlowbookError
from flowbook.runtime import sites
from flowbook.runtime.commands import Argument, StepCommand
from flowbook.runtime.definitions import Step, Workflow
from flowbook.runtime.execution import Execution
from flowbook.runtime.handles import SKIPPED, Handle
from flowbook.runtime.outcomes import Places
from flowbook.wire import codec


async def _generator() -> AsyncGenerator[None, None]:
    yield


_made = _generator()
_STEPS = (type(_made.asend(None)), type(_made.athrow(GeneratorExit)), type(anext(_made, None)))
"""The types of what runs an asynchronous generator for one step: they have no names of their own."""


def stack(execution: Execution, places: Places) -> tuple[Frame, ...]:
    """Where the run is: innermost frame first; for every running step its own place, then the workflow's frames."""
    frames: list[Frame] = []
    for command in execution.steps.values():
        frames += _step_frames(execution, command, places)
    for task in execution.loop.unfinished():
        for frame in reversed(suspended(task.get_coro())):
            if not sites.is_library(frame.f_code):
                frames.append(_workflow_frame(frame, places))
    if frames:
        return tuple(frames)
    last = list(execution.failures.values())[-1:]
    return tuple(frame for failed in last for frame in reversed(failed.failure.frames))


def suspended(awaited: Any) -> list[FrameType]:
    """Frames of a suspended coroutine and of what it awaits, outermost first."""
    frames: list[FrameType] = []
    while awaited is not None and not isinstance(awaited, asyncio.Future):
        frame = _first(awaited, ("cr_frame", "gi_frame", "ag_frame"))
        if frame is not None:
            frames.append(frame)
        awaited = _first(awaited, ("cr_await", "gi_yieldfrom", "ag_await")) or _generator_of(awaited)
    return frames


def _first(awaited: Any, names: tuple[str, ...]) -> Any:
    found = (getattr(awaited, name, None) for name in names)
    return next((one for one in found if one is not None), None)


def _generator_of(awaited: Any) -> Any:
    """The asynchronous generator that a step of it (``anext``, ``asend``, ``aclose``) runs: it does not say by itself."""
    if isinstance(awaited, CoroutineType | GeneratorType | AsyncGeneratorType):
        return None
    inside = (CoroutineType, AsyncGeneratorType, *_STEPS)
    return next((held for held in gc.get_referents(awaited) if isinstance(held, inside)), None)


def values(execution: Execution) -> dict[str, Value]:
    """Every named value the workflow has, encoded: what its steps gave, and the variables of its main frame."""
    encode = execution.values.encoded
    found: dict[str, Value] = {}
    for step, (outputs, value) in execution.latest.items():
        found |= _outputs(step, outputs, value, execution)
    local = dict(execution.named)
    if execution.main is not None and not execution.main.done():
        frames = [f for f in suspended(execution.main.get_coro()) if not sites.is_library(f.f_code)]
        local.update(frames[0].f_locals if frames else {})
    for name, value in local.items():
        done, known = value.peek() if isinstance(value, Handle) else (True, value)
        if isinstance(value, Handle):
            found.pop(value.label, None)
        if done and _is_data(name, known):
            try:
                found[name] = encode(None if known is SKIPPED else known, name)
            except FlowbookError:
                found[name] = Value(codec="none", type=codec.type_name(known), preview=codec.preview(known))
    return found


def _outputs(step: str, outputs: tuple[str, ...], value: Value, execution: Execution) -> dict[str, Value]:
    if not outputs and is_nothing(value):
        return {}
    if len(outputs) < 2:
        return {outputs[0] if outputs else step: value}
    parts = execution.values.decoded(value)
    return {name: execution.values.encoded(part, name) for name, part in zip(outputs, parts, strict=True)}


def _is_data(name: str, value: Any) -> bool:
    return not name.startswith("_") and not (isinstance(value, (ModuleType, Step, Workflow)) or callable(value))


def _workflow_frame(frame: FrameType, places: Places) -> Frame:
    local = {}
    for name, value in frame.f_locals.items():
        done, known = value.peek() if isinstance(value, Handle) else (True, value)
        local[name] = known if done else value
    return places.frame(frame.f_code.co_name, frame.f_code.co_filename, frame.f_lineno, local)


def _step_frames(execution: Execution, command: StepCommand, places: Places) -> list[Frame]:
    failed = execution.failures.get(command.key)
    if isinstance(failed, e.StepAttemptFailed) and failed.failure.frames:
        return list(reversed(failed.failure.frames))
    step = command.step
    function = getattr(step.function, "__code__", None)
    if function is None:
        return []
    local = {
        name: execution.values.decoded(value.value) if isinstance(value, Argument) else value
        for name, value in (*zip(step.parameters, command.arguments, strict=False), *command.keywords.items())
    }
    return [places.frame(step.name, function.co_filename, step.line, local)]
