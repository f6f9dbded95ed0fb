"""A run looked at: its history re-executed in view mode. No step runs, nothing is reported."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from flowbook.core import events as e
from flowbook.errors import FlowbookError, HistoryMismatch, WorkflowBlocked
from flowbook.runtime import frames
from flowbook.runtime.execution import Execution
from flowbook.store.values import ValueFiles
from flowbook.wire import codec
from flowbook.wire.protocol import Inspect, Inspection
from flowbook.worker.modules import LoadedModule


Watch = Callable[..., None]
"""Has somebody look to it that workflow code does not run for ever: called with the execution, a function, its arguments."""


def inspect(
    packet: Inspect, module: LoadedModule | None, files: ValueFiles, watch: Watch, error: BaseException | None = None
) -> Inspection:
    """What the packet asks for, after the last event of its history; ``error`` where the code did not load."""
    if module is None:
        return Inspection(packet.request, error=f"the module cannot be loaded: {type(error).__name__}: {error}")
    started = packet.history[0].event
    assert isinstance(started, e.RunStarted)
    execution = None
    answers: list[Inspection] = []
    try:
        execution = Execution(
            module.workflow(started.workflow), save=files.save, load=files.load, places=module.places, view=True
        )
        watch(execution, lambda: answers.append(_looked(packet, execution, module, files)))
    except HistoryMismatch as problem:
        difference = problem.difference if isinstance(problem.difference, dict) else {}
        return Inspection(packet.request, error=str(problem), difference=difference)
    except Exception as problem:
        return Inspection(packet.request, error=f"{type(problem).__name__}: {problem}")
    finally:
        if execution is not None:
            with suppress(WorkflowBlocked):
                watch(execution, execution.close)
    return answers[0]


def _looked(packet: Inspect, execution: Execution, module: LoadedModule, files: ValueFiles) -> Inspection:
    if packet.fit:
        execution.renaming = {}
        execution.begin(packet.history, packet.reuse)
        return Inspection(packet.request, names=execution.renaming, timers=tuple(execution.other_timers))
    execution.begin(packet.history, packet.reuse, until=packet.history[-1].seq)
    if packet.query:
        return _answer(packet, execution)
    stack = frames.stack(execution, module.places, lambda value: codec.decode(value, files.load))
    return Inspection(packet.request, stack=stack, values=frames.values(execution, files.save))


def _answer(packet: Inspect, execution: Execution) -> Inspection:
    try:
        value = execution.handlers.ask(packet.query, packet.arguments, packet.keywords)
    except FlowbookError as problem:
        return Inspection(packet.request, error=str(problem), refused=True)
    except Exception as problem:
        return Inspection(packet.request, error=f"{type(problem).__name__}: {problem}", refused=True)
    return Inspection(packet.request, value=value)
