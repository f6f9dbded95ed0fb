"""The terminal: is there one, how wide is it, what can be written to it, and a block of lines redrawn in place."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from flowbook.core.duration import spoken
from flowbook.core.printable import printable
from flowbook.errors import UserError

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def make_ready() -> None:
    """See that what is printed goes somewhere, and that what the terminal has no sign for is written out."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # A closed one (`>&-`) would be given to the next file that is opened.
            os.open(os.devnull, os.O_RDWR)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(number, "w", errors="backslashreplace", closefd=False))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def has_unicode(stream: TextIO) -> bool:
    """True when every character can be written."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")


def let_go() -> None:
    """Write nowhere from here on: Python would complain once more when it closes what is broken."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def cannot_write(error: OSError) -> bool:
    """True where this is what a full disk behind ``> file`` says; it is said on stderr then."""
    if error.errno not in _UNWRITABLE:
        return False
    with suppress(OSError):
        print(f"flowbook: the output could not be written: {error.strerror}", file=sys.stderr, flush=True)
    let_go()
    return True


def lines(text: str) -> str:
    """``text`` with its line ends and nothing else that a terminal would obey."""
    return "\n".join(printable(line) for line in text.split("\n"))


def typed(command: str, *words: str, **options: str) -> str:
    """A command as one would type it: ``typed("watch", run)``."""
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    if any(word.startswith("-") for word in words):
        # What begins with a dash would be taken for an option.
        return shlex.join([program(), command, *flags, "--", *words])
    return shlex.join([program(), command, *words, *flags])


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


def ago(moment: float, now: float) -> str:
    """How long ago, in words."""
    return f"{spoken(max(0.0, now - moment))} ago"


def agreed(question: str) -> bool:
    """Ask a person; True for yes. Raises UserError where there is nobody to ask."""
    if not sys.stdin.isatty():
        raise UserError("there is no terminal to ask in, so nothing was done. --yes does it without asking.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    print("nothing was done", file=sys.stderr)
    return False


class Progress:
    """One line on stderr that says how far something has come; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        self._is_live = is_live(sys.stderr)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.say("")

    def say(self, text: str) -> None:
        """Show this instead of the last words."""
        if self._is_live:
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)


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
