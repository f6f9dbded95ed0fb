"""What a step prints or displays, collected for the attempt that did it and for no other."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

from flowbook.core.events import Chunk
from flowbook.runtime import output

LIMIT = 1024 * 1024
"""Characters of output an attempt may leave; what comes after is counted, not kept."""

_figures = threading.Lock()


class Collected:
    """The chunks of one attempt since they were last taken. Safe to fill from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunks: list[Chunk] = []
        self._size = 0

    def add(self, chunk: Chunk) -> None:
        """Keep a chunk, joined to the one before where both are text of the same stream."""
        size = len(chunk.text) + sum(len(str(body)) for body in chunk.data.values())
        with self._lock:
            if self._size > LIMIT and not chunk.data:
                return
            self._size += size if not chunk.data else 0
            if self._size > LIMIT and not chunk.data:
                chunk = Chunk(stream="stderr", text="\n[output over 1 MB is not kept]\n")
            last = self._chunks[-1] if self._chunks else None
            if last is not None and not chunk.data and not last.data and last.stream == chunk.stream:
                self._chunks[-1] = Chunk(stream=last.stream, text=last.text + chunk.text)
            else:
                self._chunks.append(chunk)

    def take(self) -> tuple[Chunk, ...]:
        """What was collected since the last call."""
        if not self._chunks:
            return ()
        with self._lock:
            taken, self._chunks = tuple(self._chunks), []
        return taken


class _Stream(io.TextIOBase):
    """stdout or stderr of the worker: text of a step goes to its attempt, other text to the log."""

    def __init__(self, name: str, fallback: TextIO) -> None:
        self._name = name
        self._fallback = fallback

    def write(self, text: str) -> int:
        send = output.sink.get()
        if send is None:
            return self._fallback.write(text)
        send(Chunk(stream=self._name, text=text))
        return len(text)

    def flush(self) -> None:
        self._fallback.flush()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fallback.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._fallback.encoding or "utf-8"


def install() -> None:
    """Put the streams in place, for the life of the process."""
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
