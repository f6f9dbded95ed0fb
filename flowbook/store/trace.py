"""Where a worker's code stood, from the traces that Python leaves without its help: when it crashes, and when it hangs.

They are ``faulthandler``'s, written from C, so a call that never gives Python its turn again can be named as well.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_FRAME = re.compile(r'  File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>.*)')
_LIBRARY = re.compile(
    r"/site-packages/|/dist-packages/|/lib/python3|\.framework/|<frozen |"
    r"/flowbook/(client|core|runtime|store|testing|wire|worker)/"
)
_CRASHED = re.compile(r"^Current thread 0x([0-9a-f]+)", re.M)
_PINNED = re.compile(r"<(.+) [0-9a-f]{8}>")
_MAIN = "/flowbook/worker/__main__.py"


def take(path: Path) -> str:
    """A trace that a worker has left, "" where there is none. It is gone afterwards."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    with suppress(OSError):
        path.unlink()
    return text


def place(trace: str) -> str:
    """The innermost line of user code, as ``, at line 3 of flow.py (in load)``; "" where there is none to be seen.

    It is that of the thread that crashed, else that of the thread that runs workflow code, else of any other.
    """
    threads = [part.splitlines() for part in re.split(r"^(?=Thread |Current thread )", trace, flags=re.M)[1:]]
    threads.sort(key=lambda lines: 0 if lines[0].startswith("Current") else 1 if _MAIN in str(lines) else 2)
    for lines in threads:
        for line in lines:
            frame = _FRAME.fullmatch(line)
            if frame is not None and not _LIBRARY.search(frame["file"]):
                name = _PINNED.sub(r"\1", frame["file"]).rpartition("/")[2]
                return f", at line {frame['line']} of {name} (in {frame['function']})"
    return ""


def crashed(trace: str) -> int:
    """The thread that crashed, 0 where none did."""
    found = _CRASHED.search(trace) if "Fatal Python error" in trace else None
    return int(found[1], 16) if found else 0
