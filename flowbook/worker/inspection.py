"""A run looked at: its history re-executed in view mode. No step runs, nothing is reported."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from flowbook.core import events as e
from flowbook.errors import FlowbookError, HistoryMismatch, WorkflowBlocked
from flowbook.runtime import frames
from flowbook.runtime.execution import Execution
from flowbook.runtime.modules import LoadedModule
from flowbook.store.values import ValueFiles
from flowbook.wire.protocol import Inspect, Inspection

Watch = Callable[..., None]
"""Has somebody look to it that workflow code does not run for ever: called with the execution, a function, its
arguments.
"""


def inspect(
    packet: Inspect, module: LoadedModule | None, files: ValueFiles, watch: Watch, error: BaseException | None = None
) -> Inspection:
    """What the packet asks for, after the last event of its history; ``error`` where the code did not load."""
    if module is None:
        return Inspection(packet.request, error=f"the module cannot be loaded: {type(error).__name__}: {error}")
    try:
        if not packet.fit:
            return _executed(packet, module, files, watch, _looked)
        try:
            return _executed(packet, module, files, watch, _fitting)
        except HistoryMismatch:
            # It may still be the same but for where it is asked.
            return _executed(packet, module, files, watch, _fitting_edited)
    except HistoryMismatch as problem:
        difference = problem.difference if isinstance(problem.difference, dict) else {}
        return Inspection(packet.request, error=str(problem), difference=difference)
    except Exception as problem:
        return Inspection(packet.request, error=f"{type(problem).__name__}: {problem}")


Look = Callable[[Inspect, Execution, LoadedModule], Inspection]


def _executed(packet: Inspect, module: LoadedModule, files: ValueFiles, watch: Watch, look: Look) -> Inspection:
    started = packet.history[0].event
    assert isinstance(started, e.RunStarted)
    execution = Execution(
        module.workflow(started.workflow),
        save=files.save,
        load=files.load,
        places=module.places,
        classes=module,
        named=module.workflow,
        view=True,
    )
    answers: list[Inspection] = []
    try:
        watch(execution, lambda: answers.append(look(packet, execution, module)))
    finally:
        with suppress(WorkflowBlocked):
            watch(execution, execution.close)
    return answers[0]


def _fitting(packet: Inspect, execution: Execution, module: LoadedModule) -> Inspection:
    execution.begin(packet.history, packet.reuse)
    return Inspection(packet.request, names=execution.matching.renaming or {}, timers=tuple(execution.other_timers))


def _fitting_edited(packet: Inspect, execution: Execution, module: LoadedModule) -> Inspection:
    execution.matching.allow_edits()
    return _fitting(packet, execution, module)


def _looked(packet: Inspect, execution: Execution, module: LoadedModule) -> Inspection:
    execution.begin(packet.history, packet.reuse, until=packet.history[-1].seq)
    if packet.query:
        return _answer(packet, execution)
    stack = frames.stack(execution, module.places)
    return Inspection(packet.request, stack=stack, values=frames.values(execution))


def _answer(packet: Inspect, execution: Execution) -> Inspection:
    try:
        value = execution.handlers.ask(packet.query, packet.arguments, packet.keywords)
    except FlowbookError as problem:
        return Inspection(packet.request, error=str(problem), refused=True)
    except Exception as problem:
        return Inspection(packet.request, error=f"{type(problem).__name__}: {problem}", refused=True)
    return Inspection(packet.request, value=value)
