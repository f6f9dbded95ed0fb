"""Handlers of signals: each is a task of the run that calls a function of the workflow with signal after signal."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from flowbook.core.events import Chunk
from flowbook.errors import UnloadableValue, UserError
from flowbook.runtime import current, typed

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution
    from flowbook.runtime.scheduled import Task

F = TypeVar("F", bound=Callable[..., Any])

handling: ContextVar[str] = ContextVar("handling", default="")
"""The handler that the current task belongs to, in words; "" for the workflow's own code."""


def on_signal(name: str) -> Callable[[F], F]:
    """Call this function of the workflow with the value of every signal of this name, one after the other.

    A second handler of a name takes the place of the first, from then on. A handler that raises fails the run. It is
    not called with a value that its annotation does not allow; the run's log says so.
    """
    if not isinstance(name, str) or not name:
        raise UserError('@on_signal takes the name of the signal: write @on_signal("...") above the function')

    def register(function: F) -> F:
        _check(name, function)
        execution = current.execution()
        if execution is not None:
            execution.handlers.listen(name, function)
        return function

    return register


def _check(name: str, function: Any) -> None:
    """Raise UserError for what cannot be called with a signal's value."""
    try:
        inspect.signature(function).bind(None)
    except ValueError:
        # A builtin that does not say what it takes.
        return
    except TypeError:
        raise UserError(f'@on_signal("{name}") stands above a function that takes one value, the signal\'s') from None


class Listener:
    """The handler of one name. ``is_busy`` while it handles a signal; ``before`` is the one whose place it took."""

    def __init__(self, execution: Execution, name: str, function: Callable[..., Any], before: Listener | None) -> None:
        self._execution = execution
        self._name = name
        self.function = function
        self._before = before
        self._is_leaving = False
        self.is_busy = False
        if before is not None:
            before.leave()
            if not before.is_busy:
                before.task.cancel()
        self.task: Task = execution.spawn(self._listen(), f"on_signal.{name}")

    @property
    def has_work(self) -> bool:
        """True while a signal is being handled, or waits for that."""
        before = self._before is not None and self._before.is_busy
        return self.is_busy or before or bool(self._execution.inbox.get(self._name))

    def leave(self) -> None:
        """Take no further signal; one that is in hand is handled to its end."""
        self._is_leaving = True

    async def _listen(self) -> None:
        handling.set(f"the handler of signal '{self._name}'")
        if self._before is not None and self._before.is_busy:
            await asyncio.wait([self._before.task])
        while not self._is_leaving:
            try:
                await self._take_next()
            except Exception as error:
                self._execution.stopping.fail(error)
                return

    async def _take_next(self) -> None:
        """Handle the next signal; what the handler cannot have is said in the run's log, and harms nobody."""
        try:
            value = await self._execution.signal(self._name)
            given, _ = typed.bound(f"signal '{self._name}'", self.function, (value,), {})
        except (UnloadableValue, UserError) as refusal:
            self._execution.printed.append(Chunk(stream="log", text=f"not handled: {refusal}\n"))
            self._execution.handlers.changed()
        else:
            await self._handle(given)

    async def _handle(self, given: Sequence[Any]) -> None:
        self.is_busy = True
        try:
            result = self.function(*given)
            if inspect.isawaitable(result):
                await result
        finally:
            self.is_busy = False
            self._execution.handlers.changed()
