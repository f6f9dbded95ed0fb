"""``python -m flowbook.worker.child``: one step, run in this process, as a line on stdin orders it.

What it says goes to the worker line by line on the original stdout; what the step prints is captured as elsewhere.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from flowbook.core.events import Chunk
from flowbook.core.ids import Key, RunId
from flowbook.core.value import Value
from flowbook.errors import FlowbookError
from flowbook.runtime import context, modules, output
from flowbook.runtime.outcomes import failure_of
from flowbook.store.values import ValueFiles
from flowbook.wire import codec
from flowbook.wire.classes import IMPORTABLE, Classes
from flowbook.worker import capture
from flowbook.worker.finding import find_step
from flowbook.worker.isolation import Order, Said

_encode = msgspec.json.Encoder().encode


class Child:
    """The step's side of the pipe."""

    def __init__(self, order: Order, pipe: BinaryIO) -> None:
        self.order = order
        self._pipe = pipe
        self._lock = threading.Lock()
        self._beats = 0
        self._files = ValueFiles(Path(order.folder))
        self._context = context.StepContext(
            RunId(order.run),
            order.workflow,
            order.step,
            Key(order.key),
            order.attempt,
            item=order.item,
            started=order.started,
        )
        self._classes: Classes = IMPORTABLE

    def say(self, said: Said) -> None:
        """One line to the worker."""
        with self._lock:
            self._pipe.write(_encode(said) + b"\n")
            self._pipe.flush()

    def run(self) -> None:
        """Do it, and say how it ended."""
        module = None
        try:
            if self.order.memory:
                resource.setrlimit(resource.RLIMIT_AS, (self.order.memory, self.order.memory))
            module = self._classes = modules.load(self.order.module)
            if self.order.details is not None:
                self._context.heartbeat_details = self._decoded(self.order.details)
            step = find_step(module, self.order.step, self.order.home)
            output.sink.set(self._show)
            context.running.set(self._context)
            threading.Thread(target=self._tell, daemon=True).start()
            result = self._called(step)
            value = self._encoded(result, step.name)
            capture.take_figures(self._show)
            self._tell_once()
            self.say(Said(value=value))
        except BaseException as error:
            self._tell_once()
            places = module.places if module is not None else None
            retryable = not isinstance(error, FlowbookError)
            failure = failure_of(error, places, retryable=retryable) if places else failure_of(error)
            self.say(Said(failure=failure))

    def _called(self, step: Any) -> Any:
        arguments = [self._decoded(value) for value in self.order.arguments]
        keywords = {name: self._decoded(value) for name, value in self.order.keywords.items()}
        result = step.function(*arguments, **keywords)
        return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result

    def _decoded(self, value: Value) -> Any:
        return codec.decode(value, self._files.load, classes=self._classes)

    def _encoded(self, value: Any, name: str) -> Value:
        return codec.encode(value, self._files.save, name, self._classes)

    def _show(self, chunk: Chunk) -> None:
        self.say(Said(chunk=chunk))

    def _tell(self) -> None:
        while True:
            time.sleep(0.2)
            self._tell_once()

    def _tell_once(self) -> None:
        """Progress and heartbeats since the last time."""
        progress, self._context.progress = self._context.progress, None
        details, self._context.details = self._context.details, None
        beat = self._context.beats != self._beats
        self._beats = self._context.beats
        if progress is not None or details is not None or beat:
            saved = None if details is None else self._encoded(details[0], "heartbeat details")
            self.say(Said(progress=progress, beat=beat, details=saved))


async def _awaited(work: Any) -> Any:
    return await work


def main() -> int:
    """Run one step, and leave with the worker, whichever way it goes."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.environ.setdefault("MPLBACKEND", "Agg")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    capture.install()
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    threading.Thread(target=_leave_with_worker, daemon=True).start()
    signal.signal(signal.SIGTERM, _stop)
    try:
        Child(order, pipe).run()
    except BrokenPipeError:
        return 1
    return 0


def _leave_with_worker() -> None:
    """The worker holds the other end of stdin as long as it lives."""
    sys.stdin.buffer.read()
    os._exit(1)


def _stop(number: int, frame: Any) -> None:
    raise SystemExit("the step was stopped")


if __name__ == "__main__":
    sys.exit(main())
