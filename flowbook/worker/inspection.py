"""The past, looked at: a history re-executed in view mode, its frames and values. No step runs, nothing is reported."""

from __future__ import annotations

from flowbook.core import events as e
from flowbook.runtime import frames
from flowbook.runtime.execution import Execution
from flowbook.store.values import ValueFiles
from flowbook.wire import codec
from flowbook.wire.protocol import Inspect, Inspection
from flowbook.worker.modules import LoadedModule


def inspect(
    packet: Inspect, module: LoadedModule | None, files: ValueFiles, error: BaseException | None = None
) -> Inspection:
    """Stack and values after the last event of the packet's history; ``error`` where the code did not load."""
    if module is None:
        return Inspection(packet.request, error=f"the module cannot be loaded: {type(error).__name__}: {error}")
    started = packet.history[0].event
    assert isinstance(started, e.RunStarted)
    execution = None
    try:
        execution = Execution(
            module.workflow(started.workflow), save=files.save, load=files.load, places=module.places, view=True
        )
        execution.begin(packet.history, packet.reuse, until=packet.history[-1].seq)
        stack = frames.stack(execution, module.places, lambda value: codec.decode(value, files.load))
        return Inspection(packet.request, stack=stack, values=frames.values(execution, files.save))
    except Exception as problem:
        return Inspection(packet.request, error=f"{type(problem).__name__}: {problem}")
    finally:
        if execution is not None:
            execution.close()
