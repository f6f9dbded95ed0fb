"""The virtual call stack and the named values of an execution, as a person wants to see them.

``Task.get_stack`` shows one frame of a suspended task; here the chain of awaited coroutines is walked instead.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType, ModuleType
from typing import Any

from msgspec.structs import replace

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
from flowbook.runtime.scheduled import Task
from flowbook.wire import codec


async def _generator() -> AsyncGenerator[None, None]:
    yield


def _types_of_steps() -> tuple[type, ...]:
    generator, types = _generator(), []
    for step in (generator.asend(None), generator.athrow(GeneratorExit), anext(generator, None)):
        types.append(type(step))
        # One that was never awaited is complained of.
        step.close()
    return tuple(types)


_STEPS = _types_of_steps()
"""The types of what runs an asynchronous generator for one step: they have no names of their own."""


def stack(execution: Execution, places: Places) -> tuple[Frame, ...]:
    """Where the run is: innermost frame first; for every running step its own place, then the workflow's frames."""
    frames: list[Frame] = []
    for command in execution.steps.values():
        frames += _step_frames(execution, command, places)
    for task in execution.loop.unfinished():
        of_task = [frame for frame in suspended(task.get_coro()) if not sites.is_library(frame.f_code)]
        called = "" if task is execution.main or not of_task else _called(task, of_task[0])
        frames += [replace(_workflow_frame(frame, places), task=called) for frame in reversed(of_task)]
    if frames:
        return tuple(frames)
    if isinstance(execution.ending, e.RunFailed):
        return tuple(reversed(execution.ending.failure.frames))
    last = list(execution.failures.values())[-1:]
    return tuple(frame for failed in last for frame in reversed(failed.failure.frames))


def _called(task: Task, outermost: FrameType) -> str:
    """The task's name, where somebody gave it one; else its function's."""
    name = task.get_name()
    return outermost.f_code.co_name if name == task.path else name


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
    """The asynchronous generator that a step of it (``anext``, ``asend``, ``aclose``) runs: it does not say by
    itself.
    """
    if isinstance(awaited, CoroutineType | GeneratorType | AsyncGeneratorType):
        return None
    inside = (CoroutineType, AsyncGeneratorType, *_STEPS)
    return next((held for held in gc.get_referents(awaited) if isinstance(held, inside)), None)


def values(execution: Execution) -> dict[str, Value]:
    """Every named value the run has, encoded: what its steps gave, and the variables of every frame of its code.

    A name that several frames have is the outermost frame's; further in it is called ``function.name``.
    """
    found: dict[str, Value] = {}
    for step, (outputs, value) in execution.latest.items():
        found |= _outputs(step, outputs, value, execution)
    for name, value in _variables(execution).items():
        done, known = value.peek() if isinstance(value, Handle) else (True, value)
        if isinstance(value, Handle):
            found.pop(value.label, None)
        if done and _is_data(name.rpartition(".")[2], known):
            found[name] = _encoded(execution, None if known is SKIPPED else known, name)
    return found


def _variables(execution: Execution) -> dict[str, Any]:
    found = dict(execution.named)
    tasks = execution.loop.unfinished()
    for task in tasks:
        for frame in suspended(task.get_coro()):
            if sites.is_library(frame.f_code):
                continue
            for name, value in frame.f_locals.items():
                free = name if name not in found or found[name] is value else f"{frame.f_code.co_name}.{name}"
                found.setdefault(free, value)
    return found


def _encoded(execution: Execution, value: Any, name: str) -> Value:
    """What cannot be saved is told by its looks."""
    try:
        return execution.values.encoded(value, name)
    except FlowbookError:
        return Value(codec="none", type=codec.type_name(value), preview=codec.preview(value))


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
