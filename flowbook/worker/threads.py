"""Synchronous steps in threads, which can be told to stop: an exception is raised in them where they are.

It cannot reach code that is inside a blocking call of C; such a thread is left behind, and ends when the call does.
``Interruptible.left`` says when.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Any, Generic, TypeVar

import anyio
import anyio.to_thread

from flowbook.runtime.outcomes import Lines, standing_at

T = TypeVar("T")


class StepStopped(BaseException):
    """Raised inside a synchronous step that nobody wants any more; ``finally`` blocks run."""


class Shield:
    """Parts of a step that are not to be broken off. The step enters them, others stop it."""

    def __init__(self) -> None:
        # A signal's handler may come while its own thread has the lock.
        self._lock = threading.RLock()
        self._depth = 0
        self._is_due = False

    @contextmanager
    def part(self) -> Iterator[None]:
        """One such part. Raises StepStopped at its end where the step was to be stopped meanwhile."""
        with self._lock:
            self._depth += 1
        # What was raised in this thread before is delivered when it next calls something: here, and not inside.
        _nothing()
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1
                is_due = self._is_due and not self._depth
        if is_due:
            raise StepStopped

    def stop(self, interrupt: Callable[[], Any]) -> bool:
        """Interrupt the step, unless it is inside such a part; True where it is."""
        with self._lock:
            self._is_due = self._depth > 0
            if not self._is_due:
                interrupt()
            return self._is_due


def _nothing() -> None:
    pass


class StepRaised(Exception):
    """What a step has raised, as a value.

    asyncio lets no exit and no interrupt pass through a future, and coroutines raise something else for the end of an
    iteration.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class Interruptible(Generic[T]):
    """One call in a thread. ``stood`` is where it was when it was interrupted.

    ``left``, of one that was interrupted, is done when its thread has left it.
    """

    def __init__(self, call: Callable[[], T], shield: Shield, began: Callable[[], None] = _nothing) -> None:
        self.stood: Lines = ()
        self.left: asyncio.Future[None] | None = None
        self._call = call
        self._shield = shield
        self._began = began
        self._lock = threading.Lock()
        self._thread = 0
        self._is_stopped = False
        self._is_inside_part = False
        self._loop: asyncio.AbstractEventLoop

    async def run(self) -> T:
        """Its result. Raises StepRaised. Cancelling this stops the thread, where it can be stopped."""
        self._loop = asyncio.get_running_loop()
        try:
            # How many may run at once is the worker's to say, before their time begins.
            limiter = anyio.CapacityLimiter(inf)
            result = await anyio.to_thread.run_sync(self._in_thread, abandon_on_cancel=True, limiter=limiter)
        except BaseException:
            self._interrupt()
            raise
        if isinstance(result, StepRaised):
            raise result
        return result

    async def end_of_part(self) -> None:
        """Wait until the thread has left, where it was interrupted in a part that is not to be broken off."""
        if self._is_inside_part and self.left is not None:
            await asyncio.shield(self.left)

    def _in_thread(self) -> T | StepRaised:
        try:
            try:
                with self._lock:
                    if self._is_stopped:
                        raise StepStopped
                    self._thread = threading.get_ident()
                self._began()
                return self._call()
            finally:
                # Whoever interrupts holds the lock: after this nothing is raised in this thread any more.
                with self._lock:
                    self._thread = 0
        except BaseException as error:
            return StepRaised(error)
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            # The interruption may have come while it was about to do so itself.
            self._thread = 0
            left = self.left
        if left is not None:
            # Nobody waits for it where the worker has left meanwhile.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(left.set_result, None)

    def _interrupt(self) -> None:
        with self._lock:
            self._is_stopped = True
            if self._thread:
                self.left = self._loop.create_future()
                self.stood = standing_at(sys._current_frames().get(self._thread))
                self._is_inside_part = self._shield.stop(self._raise)

    def _raise(self) -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), ctypes.py_object(StepStopped))
