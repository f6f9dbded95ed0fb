"""What a run answers while it goes on: queries and updates; and all its handlers. Registered by its own code.

A handler is a function inside the workflow, so it sees the workflow's variables. Queries and validators only look;
updates and signal handlers are part of the run like any other code of it.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, overload

from flowbook.core import events as e
from flowbook.core import options
from flowbook.core.failure import Failure
from flowbook.core.ids import Key
from flowbook.core.value import Value
from flowbook.errors import NotDeterministic, UserError
from flowbook.runtime import current, typed
from flowbook.runtime.listeners import Listener, handling
from flowbook.runtime.outcomes import failure_of
from flowbook.runtime.readings import texts_among
from flowbook.wire.calls import HANDLERS

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution
    from flowbook.runtime.scheduled import Task

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", covariant=True)


class Query(Generic[P, R]):
    """A handler of queries; call it to have its answer in the workflow itself."""

    def __init__(self, function: Callable[P, Any], name: str) -> None:
        self.function = function
        self.name = name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<query {self.name}>"


class Update(Generic[P, R]):
    """A handler of updates; call it to do in the workflow itself what an update does."""

    def __init__(self, function: Callable[P, Any], name: str) -> None:
        self.function = function
        self.name = name
        self.check: Callable[..., Any] | None = None

    def validator(self, function: F) -> F:
        """Have this function reject an update, by raising, before anything is done about it."""
        self.check = function
        return function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<update {self.name}>"


class MakeQuery(Protocol):
    """What ``@query(...)`` is, as type checkers see it."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> Query[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> Query[P, T]: ...


class MakeUpdate(Protocol):
    """What ``@update(...)`` is, as type checkers see it."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> Update[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> Update[P, T]: ...


@overload
def query(function: Callable[P, Coroutine[Any, Any, T]], /) -> Query[P, T]: ...
@overload
def query(function: Callable[P, T], /) -> Query[P, T]: ...
@overload
def query(*, name: str = "") -> MakeQuery: ...
def query(function: Callable[..., Any] | None = None, /, *, name: str = "") -> Any:
    """Answer ``run.query(name)`` with this function of the workflow, from here on. It may look at everything.

    ::

        @query
        def status(): return state

    Its name is the function's, or ``@query(name="...")``. Outside a workflow it only declares name and types, for
    ``run.query(status)``.
    """

    def make(target: Callable[..., Any]) -> Query[..., Any]:
        made: Query[..., Any] = Query(target, _name("query", target, name))
        execution = current.execution()
        if execution is not None:
            execution.handlers.queries[made.name] = made.function
        return made

    return make if function is None else make(function)


@overload
def update(function: Callable[P, Coroutine[Any, Any, T]], /) -> Update[P, T]: ...
@overload
def update(function: Callable[P, T], /) -> Update[P, T]: ...
@overload
def update(*, name: str = "") -> MakeUpdate: ...
def update(function: Callable[..., Any] | None = None, /, *, name: str = "") -> Any:
    """Handle ``run.update(name, ...)`` with this function of the workflow, from here on; its result is the answer.

    Updates that came before wait for it. ``@name.validator`` registers what may reject one. Its name is the
    function's, or ``@update(name="...")``. Outside a workflow it only declares name and types, for
    ``run.update(add, ...)``.
    """

    def make(target: Callable[..., Any]) -> Update[..., Any]:
        made: Update[..., Any] = Update(target, _name("update", target, name))
        execution = current.execution()
        if execution is not None:
            execution.handlers.register(made)
        return made

    return make if function is None else make(function)


def _name(what: str, target: Any, given: Any) -> str:
    """The name of a handler. Raises UserError where there is none, or no function."""
    if not callable(target):
        raise UserError(f"@{what} stands above a function; to give it another name, write @{what}(name={target!r:.80})")
    own = getattr(target, "__name__", "<lambda>")
    if not given and own == "<lambda>":
        raise UserError(f'what @{what} stands above has no name of its own: write @{what}(name="...")')
    return options.text(f"the name of @{what}", given) or str(own)


def named(what: str, handler: Any) -> str:
    """The name of a handler that is given by name, or as what ``@query`` or ``@update`` made."""
    if isinstance(handler, Query | Update):
        return handler.name
    return options.name(f"the name of {what}", handler)


async def all_handlers_finished() -> None:
    """Wait until what has come to the workflow's handlers is handled: its updates, and signals of ``on_signal``.

    The end of a workflow cancels handlers that are at work; write this before it where they are to finish.
    """
    execution = current.required("all_handlers_finished()")
    if handling.get():
        raise UserError(f"all_handlers_finished() in {handling.get()} would wait for itself; it is for the workflow")
    await execution.handlers.finished()


class Handlers:
    """The handlers of one run, and what waits for one or is being handled."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self.queries: dict[str, Callable[..., Any]] = {}
        self.updates: dict[str, Update[..., Any]] = {}
        self.unread: list[e.UpdateReceived] = []
        self._listeners: dict[str, Listener] = {}
        self._running: dict[str, Task] = {}
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def running(self) -> list[Task]:
        """Tasks that handle an update or a signal now."""
        busy = [listener.task for listener in self._listeners.values() if listener.is_busy]
        return [task for task in (*self._running.values(), *busy) if not task.done()]

    def leave(self) -> None:
        """The workflow's code has ended: nothing new is begun."""
        for listener in self._listeners.values():
            listener.leave()

    async def finished(self) -> None:
        """Wait until nothing is being handled, and nothing that has a handler waits for it."""
        while self._is_busy():
            waiter: asyncio.Future[None] = self._execution.loop.create_future()
            self._waiting.append(waiter)
            await waiter

    def changed(self) -> None:
        """Something has been handled."""
        if self._waiting and not self._is_busy():
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiting.clear()

    def _is_busy(self) -> bool:
        return bool(self._running) or any(listener.has_work for listener in self._listeners.values())

    def listen(self, name: str, function: Callable[..., Any]) -> None:
        """Have a function called with every signal of this name."""
        self._listeners[name] = Listener(self._execution, name, function, self._listeners.get(name))

    def register(self, handler: Update[..., Any]) -> None:
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
        task = self._running[event.id] = self._execution.spawn(self._handled(event), f"update.{event.name}")
        task.add_done_callback(lambda _: self._ended(event))

    def _ended(self, event: e.UpdateReceived) -> None:
        del self._running[event.id]
        self.changed()

    async def _handled(self, event: e.UpdateReceived) -> None:
        """Validate, handle, answer. A handler that raises fails its update, not the run."""
        handling.set(f"the handler of update '{event.name}'")
        handler = self.updates[event.name]
        try:
            args, kwargs = self._given(f"update {event.name}", handler.function, event.arguments, event.keywords)
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

    def _given(
        self, what: str, function: Callable[..., Any], arguments: tuple[Value, ...], keywords: dict[str, Value]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What was sent, as the handler's annotations say. Raises UserError where it does not fit."""
        sent = self._execution.values.sent
        args = [sent(value, f"{what}: argument {number}") for number, value in enumerate(arguments, 1)]
        return typed.bound(what, function, args, {name: sent(v, f"{what}: '{name}'") for name, v in keywords.items()})

    def _validate(self, handler: Update[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if handler.check is not None:
            what = f"the validator of update '{handler.name}'"
            with self._execution.looking(what):
                _at_once(what, handler.check(*args, **kwargs))

    def _fail(self, event: e.UpdateReceived, error: Exception, *, rejected: bool) -> None:
        failure = failure_of(error, self._execution.places)
        self._note(event, e.UpdateFailed(id=event.id, name=event.name, failure=failure, rejected=rejected))

    def _note(self, event: e.UpdateReceived, note: e.UpdateCompleted | e.UpdateFailed) -> None:
        self._execution.note("update", Key(event.id), note)

    def ask(self, name: str, arguments: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        """Answer a query as of now. Raises UserError where there is none of this name, or it does not fit."""
        if name == HANDLERS:
            return self._execution.values.encoded(self._known(*map(self._execution.values.decoded, arguments)), name)
        handler = self.queries.get(name)
        if handler is None:
            names = ", ".join(sorted(self.queries)) or "none"
            close = difflib.get_close_matches(name, self.queries, 1)
            hint = f"did you mean '{close[0]}'? it" if close else "it"
            raise UserError(f"the run answers no query '{name}'; {hint} answers: {names}")
        args, kwargs = self._given(f"query {name}", handler, arguments, keywords)
        with self._execution.looking(f"query '{name}'"):
            result = _at_once(f"query '{name}'", handler(*args, **kwargs))
        return self._execution.values.encoded(result, f"result of query {name}")

    def _known(self, kind: str = "", name: str = "", words: Sequence[str] = ()) -> dict[str, Any]:
        """The handlers; and how the one of this kind and name takes what somebody typed for it, or why it does not."""
        known: dict[str, Any] = {"queries": sorted(self.queries), "updates": sorted(self.updates)}
        found: dict[str, dict[str, Callable[..., Any]]] = {
            "query": self.queries,
            "update": {name: handler.function for name, handler in self.updates.items()},
            "signal": {name: listener.function for name, listener in self._listeners.items()},
        }
        function = found.get(kind, {}).get(name)
        if function is not None:
            try:
                known["texts"] = texts_among(f"{kind} '{name}'", function, words)
            except UserError as error:
                known["problem"] = str(error)
        return known


def _at_once(what: str, result: Any) -> Any:
    """What an ``async`` query or validator gives, provided that it waits for nothing."""
    if not inspect.iscoroutine(result):
        return result
    try:
        result.send(None)
    except StopIteration as done:
        return done.value
    finally:
        result.close()
    raise NotDeterministic(f"{what} waits for something; it may only look")
