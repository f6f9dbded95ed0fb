"""What a step prints or displays, collected for the attempt that did it and for no other."""

from __future__ import annotations

import io
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any, BinaryIO, TextIO

import msgspec

from flowbook.core.events import Chunk
from flowbook.runtime import output

_encode = msgspec.json.Encoder().encode

HEAD, TAIL = 768 * 1024, 256 * 1024
"""Characters of an attempt's output that are kept: its first and its last. What lies between is counted."""

DISPLAYED = 32 * 1024 * 1024
"""Bytes of displays that an attempt may leave."""

_figures = threading.Lock()


class Collected:
    """The chunks of one attempt since they were last taken; ``is_filled`` where there are any. Any thread may add."""

    def __init__(self) -> None:
        self.is_filled = False
        self._lock = threading.Lock()
        self._chunks: list[Chunk] = []
        self._head, self._displayed = HEAD, DISPLAYED
        self._tail: deque[Chunk] = deque()
        self._in_tail = self._left_out = 0

    def add(self, chunk: Chunk) -> None:
        """Keep a chunk."""
        with self._lock:
            self.is_filled = True
            if chunk.data:
                self._chunks.append(self._admitted(chunk))
            elif len(chunk.text) <= self._head:
                self._head -= len(chunk.text)
                self._chunks.append(chunk)
            else:
                kept, rest = chunk.text[: self._head], chunk.text[self._head :]
                self._head = 0
                self._chunks.append(Chunk(chunk.stream, kept))
                self._keep_for_last(Chunk(chunk.stream, rest))

    def take(self, *, is_last: bool = False) -> tuple[Chunk, ...]:
        """What was collected since the last call, texts of a stream joined; ``is_last``: the attempt has ended, and its
        last lines are due.
        """
        if not self.is_filled:
            return ()
        with self._lock:
            if is_last and self._tail:
                if self._left_out:
                    self._chunks.append(Chunk("log", f"\n[… {self._left_out:,} characters are not kept …]\n"))
                self._chunks += self._tail
                self._tail.clear()
            taken, self._chunks = self._chunks, []
            self.is_filled = bool(self._tail)
        return tuple(_joined(taken))

    def _admitted(self, chunk: Chunk) -> Chunk:
        """The display, or a line in its place where there is no room for it."""
        size = size_of(chunk)
        if size > self._displayed:
            return refused(size)
        self._displayed -= size
        return chunk

    def _keep_for_last(self, chunk: Chunk) -> None:
        self._tail.append(chunk)
        self._in_tail += len(chunk.text)
        while self._in_tail > TAIL:
            first, over = self._tail.popleft(), self._in_tail - TAIL
            cut = min(over, len(first.text))
            if cut < len(first.text):
                self._tail.appendleft(Chunk(first.stream, first.text[cut:]))
            self._in_tail -= cut
            self._left_out += cut


def _joined(chunks: list[Chunk]) -> Iterator[Chunk]:
    for (stream, is_text), group in groupby(chunks, lambda chunk: (chunk.stream, not chunk.data)):
        if is_text:
            text = "".join(chunk.text for chunk in group)
            if text:
                yield Chunk(stream, text)
        else:
            yield from group


def size_of(chunk: Chunk) -> int:
    """About how large a display is, in bytes."""
    return sum(len(body) if isinstance(body, str) else len(_encode(body)) for body in chunk.data.values())


def refused(size: int) -> Chunk:
    """What is shown in place of a display for which there is no room."""
    most = DISPLAYED // 1024**2
    text = f"[a display of {size / 1024**2:.0f} MB is not kept: those of a step may take {most} MB in all]\n"
    return Chunk("stderr", text)


class _Stream(io.TextIOBase):
    """stdout or stderr of the worker: text of a step goes to its attempt, other text to the log."""

    def __init__(self, name: str, fallback: TextIO) -> None:
        self._name = name
        self._fallback = fallback

    def write(self, text: str) -> int:
        send = output.sink.get()
        if send is None:
            return self._fallback.write(text)
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        send(Chunk(stream=self._name, text=text))
        return len(text)

    def flush(self) -> None:
        if not self._fallback.closed:
            self._fallback.flush()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fallback.fileno()

    @property
    def buffer(self) -> BinaryIO:
        """Bytes go to the log: whose they are is not known."""
        return self._fallback.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._fallback.encoding or "utf-8"


def install() -> None:
    """Put the streams in place, for the life of the process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout = _Stream("stdout", sys.stdout)
    sys.stderr = _Stream("stderr", sys.stderr)


def take_figures(add: Callable[[Chunk], None]) -> None:
    """Record pyplot's open figures as displays and close them, as Jupyter does after a cell."""
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return
    with _figures:
        for number in pyplot.get_fignums():
            figure = pyplot.figure(number)
            add(Chunk(stream="display", data=output.bundle(figure)))
            pyplot.close(figure)
