"""Steps in a process of their own: whatever happens there, the worker lives and the failure has a name.

The worker's side. The process is ``flowbook.worker.child``. What it prints, and what is printed by programs that it
starts, comes through its stdout and stderr; all else it says by a third pipe.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import msgspec

from flowbook.core.events import Chunk
from flowbook.core.failure import Failure, Frame
from flowbook.core.value import Value
from flowbook.worker.orders import Order, Said

GRACE = 2.0
"""Seconds that the process has to end by itself once it has given its result, and again once it was asked to."""

_BLOCK = 256 * 1024
_MOST_BLOCKS = 256
"""Read of what a process has left behind; a program that outlives it may go on writing for ever."""


class StepFailedInProcess(Exception):
    """Carries the recorded failure of the process to the attempt."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class ProcessDied(Exception):
    """The process ended without a word."""


class Isolated:
    """One step. ``hear`` is told what it says, ``show`` what it shows, ``began`` the process's id, which is that of its
    group too. It begins in ``folder``, or where this process is. ``stood`` is where the step was when it was stopped.
    """

    def __init__(
        self,
        order: Order,
        hear: Callable[[Said], None],
        show: Callable[[Chunk], None],
        began: Callable[[int], None],
        folder: str | None = None,
    ) -> None:
        self.stood: tuple[Frame, ...] = ()
        self._order = order
        self._hear = hear
        self._began = began
        self._folder = folder
        self._output = _Output(order.place.encode(), show)
        self._outcome: Value | Failure | ProcessDied | None = None
        self._is_known = asyncio.Event()
        self._is_stopping = False
        self._rest = bytearray()
        self._pipes: dict[int, Callable[[bytes], None]] = {}
        self._process: asyncio.subprocess.Process
        self._watching: asyncio.Task[None] | None = None

    async def result(self) -> Value:
        """Run the step. Raises StepFailedInProcess, or ProcessDied with the signal that ended it."""
        await self._start()
        await self._is_known.wait()
        if isinstance(self._outcome, Value):
            return self._outcome
        if isinstance(self._outcome, Failure):
            raise StepFailedInProcess(self._outcome)
        assert self._outcome is not None
        raise self._outcome

    async def end(self) -> None:
        """See that nothing of it is left: wait a little for what has given its result, ask, and kill."""
        if self._watching is not None and not self._watching.done():
            self._is_stopping = True
            asked = (self._ask_to_leave,) if self._outcome is None else (lambda: None, self._ask_to_leave)
            for ask in (*asked, self._kill):
                ask()
                await asyncio.wait([self._watching], timeout=GRACE)
                if self._watching.done():
                    break
        for pipe in list(self._pipes):
            self._close(pipe)

    async def _start(self) -> None:
        pipes = [os.pipe() for _ in range(3)]
        (says, _), (out, _), (err, _) = pipes
        written = [pipe[1] for pipe in pipes]
        output = self._output
        for pipe, take in ((says, self._said), (out, output.take), (err, output.take_error)):
            os.set_blocking(pipe, False)
            self._pipes[pipe] = take
        # Unbuffered: what is printed comes before what is shown or started after it.
        command = [sys.executable, "-u", "-P", "-m", "flowbook.worker.child", str(written[0]), str(os.getpid())]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.PIPE,
                stdout=written[1],
                stderr=written[2],
                pass_fds=written[:1],
                start_new_session=True,
                cwd=self._folder,
            )
        finally:
            for pipe in written:
                os.close(pipe)
        self._began(self._process.pid)
        self._watching = asyncio.create_task(self._watch())
        loop = asyncio.get_running_loop()
        for pipe in self._pipes:
            loop.add_reader(pipe, self._read, pipe)
        assert self._process.stdin is not None
        with suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(_encode(self._order) + b"\n")
            await self._process.stdin.drain()

    async def _watch(self) -> None:
        """Wait until the process has ended. What it leaves behind ends too, and may no longer keep a pipe open."""
        code = await self._process.wait()
        try:
            self._kill()
            for pipe in list(self._pipes):
                self._read(pipe, _MOST_BLOCKS)
            self._output.end()
            assert self._process.stdin is not None
            self._process.stdin.close()
        finally:
            self._know(ProcessDied(_how(code)))

    def _read(self, pipe: int, blocks: int = 1) -> None:
        for _ in range(blocks):
            try:
                data = os.read(pipe, _BLOCK)
            except BlockingIOError:
                return
            if not data:
                self._close(pipe)
                return
            self._pipes[pipe](data)

    def _close(self, pipe: int) -> None:
        asyncio.get_running_loop().remove_reader(pipe)
        del self._pipes[pipe]
        os.close(pipe)

    def _said(self, data: bytes) -> None:
        # Searched from where the new part begins: a display may be large.
        begin = len(self._rest)
        self._rest += data
        while (end := self._rest.find(b"\n", begin)) >= 0:
            line, begin = bytes(self._rest[:end]), 0
            del self._rest[: end + 1]
            try:
                self._take(_decode(line))
            except msgspec.MsgspecError as error:
                self._know(ProcessDied(f"its process said what cannot be understood ({error})"))

    def _take(self, said: Said) -> None:
        if said.value is not None:
            self._know(said.value)
        elif said.failure is not None:
            if self._is_stopping:
                self.stood = said.failure.frames
            self._know(said.failure)
        elif said.chunk is not None:
            self._output.show_other(said.chunk)
            self._hear(said)
        else:
            self._hear(said)

    def _know(self, outcome: Value | Failure | ProcessDied) -> None:
        if self._outcome is None:
            self._outcome = outcome
            self._is_known.set()

    def _ask_to_leave(self) -> None:
        with suppress(ProcessLookupError):
            self._process.terminate()

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


class _Output:
    """The process's stdout and stderr, with what it shows by another way in its place.

    Where that is, it writes ``place`` into its stdout.
    """

    def __init__(self, place: bytes, show: Callable[[Chunk], None]) -> None:
        self._place = place
        self._show = show
        self._rest = b""
        self._due: deque[str | None] = deque()
        self._others: deque[Chunk] = deque()
        make = codecs.getincrementaldecoder("utf-8")
        self._out, self._err = make("backslashreplace"), make("backslashreplace")

    def take(self, data: bytes) -> None:
        """Some of stdout."""
        *before, last = (self._rest + data).split(self._place)
        for part in before:
            self._due += (self._out.decode(part), None)
        begun = next((n for n in range(len(self._place) - 1, 0, -1) if last.endswith(self._place[:n])), 0)
        self._rest = last[len(last) - begun :]
        self._due.append(self._out.decode(last[: len(last) - begun]))
        self._flush()

    def take_error(self, data: bytes) -> None:
        """Some of stderr."""
        self._show(Chunk("stderr", self._err.decode(data)))

    def show_other(self, chunk: Chunk) -> None:
        """Something that was shown by another way."""
        self._others.append(chunk)
        self._flush()

    def end(self) -> None:
        """There is nothing more."""
        self._due.append(self._out.decode(self._rest, final=True))
        self._rest = b""
        self._flush()
        while self._others:
            self._show(self._others.popleft())

    def _flush(self) -> None:
        while self._due and (self._due[0] is not None or self._others):
            text = self._due.popleft()
            self._show(Chunk("stdout", text) if text is not None else self._others.popleft())


def _how(code: int) -> str:
    if code >= 0:
        return f"its process exited with code {code} before it gave a result"
    name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else f"signal {-code}"
    hint = "; probably the machine was out of memory" if name == "SIGKILL" else ""
    return f"its process was killed by signal {-code} ({name}){hint}"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Said).decode
