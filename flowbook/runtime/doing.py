"""What a run's code does now, in words, for those who look for what it should be doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbook.runtime import outcomes
from flowbook.runtime.commands import StepCommand

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution


def doing(execution: Execution, instead_of: str = "") -> str:
    """How it ended, or the first things it waits for. ``instead_of`` is the step that was looked for."""
    task = execution.main
    if task is not None and task.done():
        error = None if task.cancelled() else task.exception()
        if error is not None:
            return f"it raised {type(error).__name__}: {error}{_raised_at(error, execution.places)}"
        return "it was cancelled" if task.cancelled() else "it returned"
    waits = [
        *(_words(command, instead_of) for command in execution.steps.values()),
        *(f"signal '{command.name}'" for command in execution.signals.values()),
        *("a timer" for _ in execution.timers),
    ]
    return f"it waits for {', '.join(waits[:3])}{', ...' if waits[3:] else ''}" if waits else "it waits for nothing"


def _raised_at(error: BaseException, places: outcomes.Places) -> str:
    frames = outcomes.failure_of(error, places).frames
    return f", in line {frames[-1].line} of {frames[-1].function}" if frames else ""


def _words(command: StepCommand, instead_of: str) -> str:
    same = command.step.name == instead_of
    return f"{command.what} '{command.step.name}'{' with other arguments' if same else ''}"
