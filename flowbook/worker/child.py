"""``python -m flowbook.worker.child PIPE WORKER``: one step, run in this process, as a line on stdin orders it.

What the step prints is this process's stdout and stderr, like that of programs and threads it starts. What else it
says goes line by line to the pipe.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from flowbook.core.duration import spoken_size
from flowbook.core.events import Chunk
from flowbook.core.failure import Failure
from flowbook.core.ids import Key, RunId
from flowbook.core.value import Value
from flowbook.errors import UserError
from flowbook.runtime import context, modules, output
from flowbook.runtime.definitions import Step
from flowbook.runtime.modules import LoadedModule
from flowbook.runtime.outcomes import failure_of
from flowbook.store.values import ValueFiles
from flowbook.wire import codec
from flowbook.wire.classes import IMPORTABLE
from flowbook.worker import capture, notes, results
from flowbook.worker.finding import find_step
from flowbook.worker.leaving import leave
from flowbook.worker.orders import Order, Said
from flowbook.worker.threads import Shield, StepStopped

TELL_EVERY = 0.2
"""Seconds between looks at what the step has said of itself."""

ROOM = 32 * 1024 * 1024
"""Bytes that a step has to be left of its memory limit when it begins."""

_PR_SET_PDEATHSIG = 1
_encode = msgspec.json.Encoder().encode


class Child:
    """The step's side of the pipe."""

    def __init__(self, order: Order, pipe: int) -> None:
        self.order = order
        self._pipe = os.fdopen(pipe, "wb")
        # The step may put something else in the place of its stdout for a while.
        self._stdout = os.dup(1)
        self._lock = threading.Lock()
        self._telling = threading.Lock()
        self._beats = 0
        self._progress: tuple[float, float, str] | None = None
        self._details: notes.Kept | None = None
        self._began = self._saved = time.monotonic()
        self._files = ValueFiles(Path(order.folder))
        self._module: LoadedModule | None = None
        self._shield = Shield()
        self._task: asyncio.Task[Any] | None = None
        self._context = context.StepContext(
            RunId(order.run),
            order.workflow,
            order.step,
            Key(order.key),
            order.attempt,
            original=RunId(order.original),
            item=order.item,
            started=order.started,
            keep=lambda details: notes.kept(details, order.step, self._module),
            shield=self._shield.part,
        )

    def say(self, said: Said) -> None:
        """One line to the worker."""
        with self._lock:
            self._pipe.write(_encode(said) + b"\n")
            self._pipe.flush()

    def run(self) -> None:
        """Do it, and say how it ended."""
        step = None
        try:
            module = self._module = modules.load(self.order.module)
            if self.order.details is not None:
                self._context.heartbeat_details = self._decoded(self.order.details)
            step = find_step(module, self.order.step, self.order.home)
            output.of_process, context.of_process = self._show, self._context
            threading.Thread(target=self._tell, name="flowbook-tell", daemon=True).start()
            if self.order.memory:
                _limit_memory(self.order)
            value = results.saved(self._called(step), step, module, self._files.save)
            capture.take_figures(self._show)
            said = Said(value=value)
        except BaseException as error:
            if self.order.memory:
                _lift_memory_limit()
            said = Said(failure=self._failed(error, step))
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._tell_once(is_last=True)
        self.say(said)

    def stop(self, number: int, frame: Any) -> None:
        """The worker wants the step to end: a handler of signals."""
        self._context.cancelled = True
        if self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)
        else:
            self._shield.stop(_interrupt)

    def _called(self, step: Step[..., Any]) -> Any:
        arguments = [self._decoded(value) for value in self.order.arguments]
        keywords = {name: self._decoded(value) for name, value in self.order.keywords.items()}
        self.say(Said(beat=True))
        result = step.function(*arguments, **keywords)
        return asyncio.run(self._awaited(result)) if inspect.isawaitable(result) else result

    async def _awaited(self, work: Awaitable[Any]) -> Any:
        self._task = asyncio.current_task()
        try:
            return await work
        finally:
            self._task = None

    def _failed(self, error: BaseException, step: Step[..., Any] | None) -> Failure:
        if step is None or self._module is None:
            return failure_of(error)
        failure = results.failed(error, step, self._module)
        if isinstance(error, MemoryError) and self.order.memory:
            limit = f"the step needed more than its memory limit of {spoken_size(self.order.memory)}"
            return replace(failure, message=f"{limit}: {failure.message}" if failure.message else limit)
        return failure

    def _decoded(self, value: Value) -> Any:
        return codec.decode(value, self._files.load, classes=self._module or IMPORTABLE)

    def _show(self, chunk: Chunk) -> None:
        size = capture.size_of(chunk)
        if size > capture.DISPLAYED:
            chunk = capture.refused(size)
        with self._lock:
            os.write(self._stdout, self.order.place.encode())
        self.say(Said(chunk=chunk))

    def _tell(self) -> None:
        while True:
            time.sleep(TELL_EVERY)
            with suppress(BrokenPipeError):
                self._tell_once()

    def _tell_once(self, *, is_last: bool = False) -> None:
        """Progress and heartbeats since the last time."""
        with self._telling:
            said, known, now = Said(), self._context, time.monotonic()
            said.beat, self._beats = known.beats != self._beats or self.order.beats, known.beats
            if known.progress is not self._progress:
                said.progress = self._progress = known.progress
            left: notes.Kept | None = known.details
            # What is long is a file each time: not more of them than are recorded.
            is_due = is_last or now - self._saved >= notes.interval(now - self._began)
            if left is not None and left is not self._details and (is_due or not left.body):
                self._details, self._saved = left, now
                said.details = notes.saved(left, self._files)
            if said.beat or said.progress is not None or said.details is not None:
                self.say(said)


def _interrupt() -> None:
    raise StepStopped("the step was stopped")


def _limit_memory(order: Order) -> None:
    """From here on. Raises UserError where what there is takes it all up already."""
    taken = _address_space()
    if taken + ROOM > order.memory:
        raise UserError(
            f"step '{order.step}': memory=\"{spoken_size(order.memory)}\" is too small: its process takes "
            f"{spoken_size(taken)} before the step begins, Python and what the module imports. Give it at least "
            f"{spoken_size(taken + 2 * ROOM)}"
        )
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = order.memory if hard == resource.RLIM_INFINITY else min(order.memory, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _lift_memory_limit() -> None:
    """To tell of a failure takes memory."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _address_space() -> int:
    """Bytes of memory this process has mapped; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def main() -> int:
    """Run one step, and leave with the worker, whichever way it goes."""
    pipe, worker = int(sys.argv[1]), int(sys.argv[2])
    _die_with(worker)
    orders = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.set_inheritable(pipe, False)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    os.environ.setdefault("MPLBACKEND", "Agg")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    order = msgspec.json.decode(_line(orders), type=Order)
    threading.Thread(target=_leave_with_worker, args=(orders,), name="flowbook-leave", daemon=True).start()
    child = Child(order, pipe)
    signal.signal(signal.SIGTERM, child.stop)
    with suppress(BrokenPipeError):
        child.run()
    return 0


def _line(pipe: int) -> bytes:
    found = bytearray()
    while not found.endswith(b"\n"):
        data = os.read(pipe, 1 << 20)
        if not data:
            os._exit(1)
        found += data
    return bytes(found)


def _die_with(worker: int) -> None:
    """Have the system kill this process when the worker dies: code that keeps all threads waiting cannot do so."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != worker:
        os._exit(1)


def _leave_with_worker(orders: int) -> None:
    """The worker holds the other end of the pipe as long as it lives. What the step has started ends as well."""
    while os.read(orders, 1 << 16):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    leave(main())
