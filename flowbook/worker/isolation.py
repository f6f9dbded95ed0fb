"""Steps in a process of their own: whatever happens there, the worker lives and the failure has a name.

The worker's side. The process is ``flowbook.worker.child``; both speak JSON lines over the child's pipes.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

import anyio
import anyio.abc
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream

from flowbook.core.events import Chunk
from flowbook.core.failure import Failure
from flowbook.core.module import Module
from flowbook.core.value import Value

GRACE = 2.0
"""Seconds between asking the process to leave and killing it."""

MAXIMUM = 256 * 1024 * 1024


class Order(msgspec.Struct, omit_defaults=True):
    """What the process is to do. ``home`` is where the step is defined; ``memory`` in bytes, 0 for no limit."""

    module: Module
    step: str
    home: str
    folder: str
    run: str
    workflow: str
    key: str
    attempt: int
    item: int | None = None
    arguments: list[Value] = []
    keywords: dict[str, Value] = {}
    details: Value | None = None
    started: float = 0.0
    memory: int = 0


class Said(msgspec.Struct, omit_defaults=True):
    """One thing the process says: output, progress, a heartbeat, or, last, its value or failure."""

    chunk: Chunk | None = None
    progress: tuple[float, float, str] | None = None
    beat: bool = False
    details: Value | None = None
    value: Value | None = None
    failure: Failure | None = None


class StepFailedInProcess(Exception):
    """Carries the recorded failure of the process to the attempt."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class ProcessDied(Exception):
    """The process ended without a word."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Said).decode


async def run_in_process(order: Order, hear: Callable[[Said], None]) -> Value:
    """Run the step; ``hear`` is told what it says meanwhile.

    Raises StepFailedInProcess, or ProcessDied with the signal that ended it.
    """
    command = [sys.executable, "-P", "-m", "flowbook.worker.child"]
    async with await anyio.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, start_new_session=True
    ) as process:
        try:
            assert process.stdin is not None and process.stdout is not None
            await process.stdin.send(_encode(order) + b"\n")
            lines = BufferedByteReceiveStream(process.stdout)
            while True:
                try:
                    said = _decode(await lines.receive_until(b"\n", MAXIMUM))
                except (anyio.IncompleteRead, anyio.EndOfStream):
                    raise ProcessDied(_how(await process.wait())) from None
                if said.value is not None:
                    return said.value
                if said.failure is not None:
                    raise StepFailedInProcess(said.failure)
                hear(said)
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)


async def _end(process: anyio.abc.Process) -> None:
    """Gone is gone; else ask, wait a little, and kill."""
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(GRACE):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


def _how(code: int) -> str:
    if code >= 0:
        return f"its process exited with code {code} before it gave a result"
    name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else f"signal {-code}"
    hint = "; probably the machine was out of memory" if name == "SIGKILL" else ""
    return f"its process was killed by signal {-code} ({name}){hint}"
