"""``@workflow`` for people: a workflow that can also be started."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from flowbook.api.calling import Prepared, Start
from flowbook.api.connection import connect
from flowbook.api.options import OPTIONS, Options, chosen
from flowbook.api.started import Run
from flowbook.core.queues import Queue
from flowbook.errors import UserError
from flowbook.runtime import children, current, definitions
from flowbook.runtime.children import ChildHandle
from flowbook.runtime.typed import converted

if TYPE_CHECKING:
    from flowbook.api.schedules import Schedule

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class Workflow(definitions.Workflow[P, R]):
    """A workflow. Call it inside another one; ``start`` it from outside."""

    if TYPE_CHECKING:
        # With a ParamSpec no method can have options of its own.
        start: Start[P, Run[R]]
        start_child: Start[P, ChildHandle[R]]
        run: Start[P, R]

    else:

        def start(self, *args, **kwargs):
            """Start a durable run and give it at once. The same ``id`` with the same arguments is the same run.

            With ``queue`` (a name, or a ``Queue`` with limits) it begins when the queue has room: of higher
            ``priority`` first, those of one ``concurrency_key`` in turn with those of others.

            ``timeout`` is for the whole run. ``on_conflict`` says what an open run of this ``id`` means ("same",
            "use_existing", "fail", "terminate_existing"), ``on_closed`` what a closed one does ("same", "reject",
            "allow", "allow_failed"). ``signal=(name, value)`` is delivered with the start. ``attributes`` are to
            search by, ``memo`` is for eyes.

            A parameter of the workflow that is called as an option is the workflow's; ``options(...)`` gives both.
            Inside a workflow it starts a child run and gives its handle: see ``start_child``.
            """
            own, options = self._apart(kwargs)
            return self.started(args, own, options)

        def start_child(self, *args, **kwargs):
            """In workflow code, start a child run and give its handle. ``start`` does the same there.

            Takes the options ``id``, ``name``, ``timeout``, ``signal``, ``attributes``, ``memo``, ``queue``,
            ``priority`` and ``concurrency_key`` of ``start``, and: ``parent_close`` ("cancel", "terminate" or
            "abandon" it when this run ends), ``on_cancel`` (``cancel()`` of the handle: "request" it to stop, "wait"
            until it has, or "abandon" it), ``on_conflict`` (an open run has its id: "fail" or "use_existing").
            """
            own, options = self._apart(kwargs)
            return self.child(args, own, options)

        def run(self, *args, **kwargs):
            """Start it and wait for its result. Takes what ``start`` takes."""
            own, options = self._apart(kwargs)
            return self.outcome(args, own, options)

    def options(
        self,
        *,
        id: str | None = None,
        name: str | None = None,
        timeout: float | str | None = None,
        on_conflict: str | None = None,
        on_closed: str | None = None,
        signal: tuple[str, Any] | None = None,
        attributes: Mapping[str, Any] | None = None,
        memo: Mapping[str, Any] | None = None,
        queue: Queue | str | None = None,
        priority: int | None = None,
        concurrency_key: str | None = None,
        parent_close: str | None = None,
        on_cancel: str | None = None,
    ) -> Prepared[P, R]:
        """The workflow with options for its start, apart from its arguments: ``flow.options(id="a").start(...)``.

        They are those of ``start`` and ``start_child``. The arguments may be called as options are, and type checkers
        know them.
        """
        given = dict(locals())
        del given["self"]
        return Prepared(self, {name: value for name, value in given.items() if value is not None})

    def started(self, args: tuple[Any, ...], kwargs: dict[str, Any], options: Mapping[str, Any]) -> Any:
        """What ``start`` gives: a run, or in workflow code a child's handle."""
        from flowbook.api import live
        from flowbook.api.starting import start

        if current.execution() is not None:
            return self.child(args, kwargs, options)
        live.refuse_while_loading(self)
        own: Options = chosen(self.name, options)
        signature = inspect.signature(self.function)
        try:
            arguments = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise UserError(f"{self.name}.start(): {error}; it is {self.name}{signature}") from None
        # Sent as given: a worker converts them for its own copy of the code. Here, what does not fit is refused.
        converted(f"{self.name}.start()", self.function, arguments)
        connection = connect()
        module, found = live.compiled(self)
        summary = start(connection, module, found, arguments, options=own)
        return Run(summary["id"], connection)

    def child(self, args: tuple[Any, ...], kwargs: dict[str, Any], options: Mapping[str, Any]) -> ChildHandle[R]:
        """What ``start_child`` gives."""
        return children.start_child(self, args, kwargs, options)

    def outcome(self, args: tuple[Any, ...], kwargs: dict[str, Any], options: Mapping[str, Any]) -> Any:
        """What ``run`` gives."""
        if current.execution() is not None:
            raise UserError(
                f"{self.name}.run() waits for its result, which workflow code does with await: "
                f"write 'await {self.name}(...)' to have it as a part of this run, or 'await {self.name}.start(...)' "
                "to have it as a child run"
            )
        return self.started(args, kwargs, options).result()

    def schedule(self, name: str, /, *args: Any, **options: Any) -> Schedule:
        """Have it started at certain times: ``nightly.schedule("nightly", cron="0 3 * * *", region="eu")``.

        Takes the options of ``flowbook.schedule`` and the workflow's own arguments.
        """
        from flowbook.api.schedules import schedule

        return schedule(self, name, *args, **options)

    def _apart(self, kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Its own arguments, and the options of its start: a parameter of its own goes first."""
        parameters = inspect.signature(self.function).parameters
        options = {name: kwargs[name] for name in kwargs if name in OPTIONS and name not in parameters}
        return {name: value for name, value in kwargs.items() if name not in options}, options


@overload
def workflow(function: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
@overload
def workflow(*, name: str = "") -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Workflow[P, R]]: ...
def workflow(function: Callable[..., Any] | None = None, /, *, name: str = "") -> Any:
    """Make an ``async`` function a durable workflow: ``@workflow`` or ``@workflow(name=...)``."""

    def make(target: Callable[..., Any]) -> Workflow[..., Any]:
        return Workflow(target, name)

    return make if function is None else make(function)
