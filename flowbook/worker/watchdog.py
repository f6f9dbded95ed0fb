"""Looks from a thread whether the worker's loop still turns, and says whose code keeps it from turning.

Workflow code that blocks is interrupted, so that its run can be paused with the line named; what cannot be
interrupted (a call of C that does not return) costs the worker its life, after it has left a note for the engine.
An asynchronous step that blocks is told so in its own log.
"""

from __future__ import annotations

import ctypes
import faulthandler
import linecache
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, BinaryIO, Protocol

import msgspec

from flowbook.core.duration import setting, spoken
from flowbook.core.ids import RunId
from flowbook.errors import WorkflowBlocked
from flowbook.runtime import sites

BUDGET = setting(os.environ, "FLOWBOOK_BLOCK_BUDGET", 5.0)
"""Seconds that code may keep the loop; 0 switches the watchdog off."""

PATIENCE = 3.0
"""After so many budgets more, what cannot be interrupted ends the worker."""

REARM_EVERY = 1.0
"""Seconds between two times at which the trace of a worker that hangs is put off."""

EXIT_CODE = 70

Tell = Callable[[CodeType, str], bool]
Note = Callable[[str], None]


class Code(Protocol):
    """Workflow code that is told events: ``seq`` is the last one."""

    seq: int


class Interrupted(BaseException):
    """Raised inside workflow code that blocks."""


class Watchdog:
    """One for the worker. ``tell`` gives a warning to the step whose code it is; False where it is nobody's.

    ``note`` is the file in which a worker that has to leave says why, ``trace`` that in which Python says where it
    stood when it could not even do that; ``mark`` is told whose code runs.
    """

    def __init__(
        self, note: Path, trace: Path, tell: Tell, mark: Note = lambda run: None, budget: float = BUDGET
    ) -> None:
        self._note = note
        self._path = trace
        self._trace: BinaryIO | None = None
        self._armed = 0.0
        self._tell = tell
        self._mark = mark
        self._budget = budget
        self._lock = threading.Lock()
        self._main = threading.get_ident()
        self._turned = time.monotonic()
        self._run = RunId("")
        self._code: Code | None = None
        self._since = 0.0
        self._seq = 0
        self._blocked = ""
        self._warned = False

    def start(self) -> None:
        """Watch for the life of the process."""
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        self._trace = os.fdopen(handle, "wb", buffering=0)
        faulthandler.enable(self._trace)
        if self._budget:
            self._arm(self._trace)
            threading.Thread(target=self._watch, name="flowbook-watchdog", daemon=True).start()

    def turned(self) -> None:
        """The loop turns."""
        self._turned = time.monotonic()
        self._warned = False
        if self._trace is not None and self._budget and self._turned - self._armed > REARM_EVERY:
            self._arm(self._trace)

    def _arm(self, trace: BinaryIO) -> None:
        """Have a trace written should the loop not turn for long: from C, which waits for no other thread."""
        self._armed = self._turned
        faulthandler.cancel_dump_traceback_later()
        os.ftruncate(trace.fileno(), 0)
        faulthandler.dump_traceback_later(2 * self._budget, file=trace)

    def leave(self) -> None:
        """The worker leaves in order."""
        if self._trace is not None:
            faulthandler.cancel_dump_traceback_later()
            faulthandler.disable()
            self._trace.close()
            self._path.unlink(missing_ok=True)

    def watched(self, run: RunId, code: Code, work: Callable[..., None], *args: Any) -> None:
        """Let ``work`` run workflow code. Raises WorkflowBlocked where it had to be interrupted."""
        try:
            with self._lock:
                self._run, self._code, self._since, self._blocked = run, code, time.monotonic(), ""
                self._seq = code.seq
            self._mark(run)
            try:
                work(*args)
            finally:
                self._mark("")
                # Whoever interrupts holds the lock: after this nothing is raised here any more.
                with self._lock:
                    self._run = RunId("")
        except Interrupted:
            pass
        if self._blocked:
            raise WorkflowBlocked(self._blocked)

    def _watch(self) -> None:
        while True:
            time.sleep(min(0.25, self._budget / 4))
            if sys.gettrace() is None and "pydevd" not in sys.modules:
                self._look(time.monotonic())

    def _look(self, now: float) -> None:
        with self._lock:
            run, code = self._run, self._code
            if run and code is not None and code.seq != self._seq:
                # It gets on, if only with a long history.
                self._since, self._seq = now, code.seq
            elif run and now - self._since > self._budget:
                self._interrupt(run, now - self._since)
        if not run and now - self._turned > self._budget and not self._warned:
            self._warned = True
            self._warn(now - self._turned)

    def _interrupt(self, run: RunId, seconds: float) -> None:
        if not self._blocked:
            where = self._place()
            self._blocked = (
                f"the workflow's code kept its worker busy for over {spoken(self._budget)} without waiting for "
                f"anything{where}. Move work into a step, replace time.sleep() by asyncio.sleep(), and see that "
                "every loop awaits something"
            )
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._main), ctypes.py_object(Interrupted))
        elif seconds > self._budget * (1 + PATIENCE):
            note = msgspec.json.encode({"run": run, "reason": self._blocked})
            self._note.write_bytes(note)
            os.write(2, f"{self._blocked}; it could not be interrupted, so the worker leaves\n".encode())
            os._exit(EXIT_CODE)

    def _warn(self, seconds: float) -> None:
        for frame in self._frames():
            text = (
                f"this step has kept its worker's loop from turning for {spoken(seconds)}{_at(frame)}: nothing else "
                "runs meanwhile. Make it a plain def (it gets a thread) or await what takes long.\n"
            )
            if self._tell(frame.f_code, text):
                return

    def _place(self) -> str:
        user = [frame for frame in self._frames() if not sites.is_library(frame.f_code)]
        return _at(user[0]) if user else ""

    def _frames(self) -> list[FrameType]:
        """The main thread's frames, innermost first."""
        found, frame = [], sys._current_frames().get(self._main)
        while frame is not None:
            found.append(frame)
            frame = frame.f_back
        return found


def _at(frame: FrameType) -> str:
    file, line = frame.f_code.co_filename, frame.f_lineno
    source = linecache.getline(file, line).strip()
    name = Path(file).name
    return f", at line {line} of {name}" + (f": {source}" if source else "")
