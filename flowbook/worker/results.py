"""What becomes of a step's result and of its exception, in the worker as in a process of the step's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from flowbook.core.failure import Failure, Frame
from flowbook.core.value import Value
from flowbook.errors import FlowbookError, UnsavableValue
from flowbook.runtime.definitions import Step
from flowbook.runtime.modules import LoadedModule
from flowbook.runtime.outcomes import failure_of
from flowbook.wire import codec


def saved(value: Any, step: Step[..., Any], module: LoadedModule, save: codec.Save) -> Value:
    """The step's result. Raises UnsavableValue naming what it is called, and where."""
    name = ", ".join(step.outputs) or step.name
    try:
        return codec.encode(value, save, name, module)
    except UnsavableValue as error:
        place = module.places.cell(step.line)
        where = f"cell {place[1]}, line {place[2]}" if place else f"line {step.line}"
        raise UnsavableValue(f"{error} (step '{step.name}', {where})") from None


def failed(error: BaseException, step: Step[..., Any], module: LoadedModule, stood: Sequence[Frame] = ()) -> Failure:
    """The step's failure. ``stood`` is where it was when it was stopped, of an error that no line of it raised."""
    frames = tuple(stood) or own_frame(step, module)
    failure = failure_of(error, module.places, retryable=not isinstance(error, FlowbookError), otherwise=frames)
    return replace(failure, text=_text(failure)) if failure.frames is frames else failure


def own_frame(step: Step[..., Any], module: LoadedModule) -> tuple[Frame, ...]:
    """The step as a frame, where no line of it is to be named."""
    code = getattr(step.function, "__code__", None)
    return (module.places.frame(step.name, code.co_filename, step.line, {}),) if code is not None else ()


def _text(failure: Failure) -> str:
    """The traceback as it would be, had the last frame raised it."""
    lines = [
        f'  File "{frame.file}", line {frame.module_line or frame.line}, in {frame.function}\n'
        + (f"    {frame.source}\n" if frame.source else "")
        for frame in failure.frames
    ]
    return f"Traceback (most recent call last):\n{''.join(lines)}{failure.type}: {failure.message}\n"
