"""What a run answers while it goes on: queries, updates, and handlers of signals. Registered by its own code.

A handler is a function inside the workflow, so it sees the workflow's variables. Queries and validators only look;
updates and signal handlers are part of the run like any other code of it.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from flowbook.core import events as e
from flowbook.core.failure import Failure
from flowbook.core.ids import Key
from flowbook.core.value import Value
from flowbook.errors import NotDeterministic, UserError
from flowbook.runtime import current
from flowbook.runtime.outcomes import failure_of
from flowbook.wire.calls import HANDLERS

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution
    from flowbook.runtime.loop import Task

F = TypeVar("F", bound=Callable[..., Any])


def query(function: F) -> F:
    """Answer ``run.query(name)`` with this function of the workflow, from here on. It may look at everything.

    ::

        @query
        def status(): return state
    """
    execution = current.execution()
    if execution is not None:
        execution.handlers.queries[function.__name__] = function
    return function


class Update:
    """A handler of updates; call it to do in the workflow itself what an update does."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = function.__name__
        self.check: Callable[..., Any] | None = None

    def validator(self, function: F) -> F:
        """Have this function reject an update, by raising, before anything is done about it."""
        self.check = function
        return function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def update(function: Callable[..., Any]) -> Update:
    """Handle ``run.update(name, ...)`` with this function of the workflow, from here on; its result is the answer.

    Updates that came before wait for it. ``@name.validator`` registers what may reject one.
    """
    made = Update(function)
    execution = current.execution()
    if execution is not None:
        execution.handlers.register(made)
    return made


def on_signal(name: str) -> Callable[[F], F]:
    """Call this function of the workflow with the value of every signal of this name, one after the other."""

    def register(function: F) -> F:
        execution = current.execution()
        if execution is not None:
            execution.spawn(_listen(execution, name, function), f"on_signal.{name}")
        return function

    return register


async def _listen(execution: Execution, name: str, function: Callable[..., Any]) -> None:
    while True:
        result = function(await execution.signal(name))
        if inspect.isawaitable(result):
            await result


class Handlers:
    """The handlers of one run, and the updates that wait for one or are being handled."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self.queries: dict[str, Callable[..., Any]] = {}
        self.updates: dict[str, Update] = {}
        self.unread: list[e.UpdateReceived] = []
        self._running: dict[str, Task] = {}

    @property
    def running(self) -> list[Task]:
        """Tasks of updates that are being handled."""
        return [task for task in self._running.values() if not task.done()]

    def register(self, handler: Update) -> None:
        """A handler is there: what waited for it begins."""
        self.updates[handler.name] = handler
        waiting = [event for event in self.unread if event.name == handler.name]
        self.unread = [event for event in self.unread if event.name != handler.name]
        for event in waiting:
            self._begin(event)

    def receive(self, event: e.UpdateReceived) -> None:
        """An update has come."""
        main = self._execution.main
        has_ended = main is not None and main.done()
        if event.name in self.updates and not has_ended:
            self._begin(event)
        else:
            self.unread.append(event)

    def _begin(self, event: e.UpdateReceived) -> None:
        work = self._handled(event)
        self._running[event.id] = self._execution.spawn(work, f"update.{event.name}")

    async def _handled(self, event: e.UpdateReceived) -> None:
        """Validate, handle, answer. A handler that raises fails its update, not the run."""
        handler = self.updates[event.name]
        try:
            args, kwargs = self._inputs(event)
            self._validate(handler, args, kwargs)
        except Exception as error:
            self._fail(event, error, rejected=True)
            return
        try:
            result = handler.function(*args, **kwargs)
            if inspect.isawaitable(result):
                result = await result
            value = self._execution.values.encoded(result, f"result of update {event.name}")
        except asyncio.CancelledError:
            ended = Failure(type="RunClosed", message="the run ended before the update was handled")
            self._note(event, e.UpdateFailed(id=event.id, name=event.name, failure=ended))
            raise
        except Exception as error:
            self._fail(event, error, rejected=False)
        else:
            self._note(event, e.UpdateCompleted(id=event.id, name=event.name, value=value))

    def _inputs(self, event: e.UpdateReceived) -> tuple[list[Any], dict[str, Any]]:
        decoded = self._execution.values.decoded
        return [decoded(v) for v in event.arguments], {name: decoded(v) for name, v in event.keywords.items()}

    def _validate(self, handler: Update, args: list[Any], kwargs: dict[str, Any]) -> None:
        _bind(f"update {handler.name}", handler.function, args, kwargs)
        if handler.check is not None:
            with self._execution.looking(f"the validator of update '{handler.name}'"):
                handler.check(*args, **kwargs)

    def _fail(self, event: e.UpdateReceived, error: Exception, *, rejected: bool) -> None:
        failure = failure_of(error, self._execution.places)
        self._note(event, e.UpdateFailed(id=event.id, name=event.name, failure=failure, rejected=rejected))

    def _note(self, event: e.UpdateReceived, note: e.UpdateCompleted | e.UpdateFailed) -> None:
        self._execution.note("update", Key(event.id), note)

    def ask(self, name: str, arguments: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        """Answer a query as of now. Raises UserError where there is none of this name, or it does not fit."""
        if name == HANDLERS:
            known = {"queries": sorted(self.queries), "updates": sorted(self.updates)}
            return self._execution.values.encoded(known, name)
        handler = self.queries.get(name)
        if handler is None:
            names = ", ".join(sorted(self.queries)) or "none"
            close = difflib.get_close_matches(name, self.queries, 1)
            hint = f"did you mean '{close[0]}'? it" if close else "it"
            raise UserError(f"the run answers no query '{name}'; {hint} answers: {names}")
        decoded = self._execution.values.decoded
        args, kwargs = [decoded(v) for v in arguments], {key: decoded(v) for key, v in keywords.items()}
        _bind(f"query {name}", handler, args, kwargs)
        with self._execution.looking(f"query '{name}'"):
            result = _at_once(name, handler(*args, **kwargs))
        return self._execution.values.encoded(result, f"result of query {name}")


def _bind(what: str, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> None:
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        raise UserError(f"{what}: {error}; it is {function.__name__}{inspect.signature(function)}") from None


def _at_once(name: str, result: Any) -> Any:
    """What an ``async`` query gives, provided that it waits for nothing."""
    if not inspect.iscoroutine(result):
        return result
    try:
        result.send(None)
    except StopIteration as done:
        return done.value
    finally:
        result.close()
    raise NotDeterministic(f"query '{name}' waits for something; a query may only look")
