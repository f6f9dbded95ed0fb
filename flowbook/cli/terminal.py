"""The terminal: is there one, how wide is it, and a block of lines that is redrawn in place."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TextIO

from flowbook.errors import UserError


def is_live(stream: TextIO) -> bool:
    """True when lines can be redrawn in place."""
    return stream.isatty() and os.environ.get("TERM", "") != "dumb"


def has_colour(stream: TextIO) -> bool:
    """True when colours are shown and wanted (https://no-color.org)."""
    return is_live(stream) and not os.environ.get("NO_COLOR")


def size() -> tuple[int, int]:
    """Columns and lines."""
    found = shutil.get_terminal_size((100, 30))
    return found.columns, found.lines


def program() -> str:
    """How this command is called here: ``flowbook`` where the shell finds it, else its path."""
    called = sys.argv[0]
    if shutil.which("flowbook") or Path(called).name != "flowbook":
        return "flowbook"
    return os.path.relpath(called)


def now() -> float:
    """Unix seconds by this machine's clock; the engine's events carry the engine's, which is the same machine."""
    return time.time()


def agreed(question: str) -> bool:
    """Ask a person; True for yes. Raises UserError where there is nobody to ask."""
    if not sys.stdin.isatty():
        raise UserError("there is no terminal to ask in, so nothing was done. --yes does it without asking.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    print("nothing was done", file=sys.stderr)
    return False


class Block:
    """Lines that replace the ones drawn before. The cursor is hidden while it is open."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._drawn = 0

    def __enter__(self) -> Block:
        self._stream.write("\x1b[?25l")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.write("\x1b[?25h")
        self._stream.flush()

    def draw(self, lines: list[str]) -> None:
        """Show these lines instead of the last ones."""
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._stream.write(up + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        self._stream.flush()
        self._drawn = len(lines)
