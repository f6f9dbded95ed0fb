"""Synchronous steps in threads, which can be told to stop: an exception is raised in them where they are.

It cannot reach code that is inside a blocking call of C; such a thread is left behind, and ends when the call does.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


class StepStopped(BaseException):
    """Raised inside a synchronous step that nobody wants any more; ``finally`` blocks run."""


class Interruptible(Generic[T]):
    """One call in a thread."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._thread = 0

    async def run(self) -> T:
        """Its result. Cancelling this stops the thread, where it can be stopped."""
        try:
            return await anyio.to_thread.run_sync(self._in_thread, abandon_on_cancel=True)
        except BaseException:
            self._interrupt()
            raise

    def _in_thread(self) -> T:
        try:
            with self._lock:
                self._thread = threading.get_ident()
            try:
                return self._call()
            finally:
                # Whoever interrupts holds the lock: after this nothing is raised in this thread any more.
                with self._lock:
                    self._thread = 0
        except StepStopped:
            raise RuntimeError("the step was stopped") from None

    def _interrupt(self) -> None:
        with self._lock:
            if self._thread:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), ctypes.py_object(StepStopped))
