"""``@workflow`` for people: a workflow that can also be started."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from flowbook.api.connection import connect
from flowbook.api.started import Run
from flowbook.errors import UserError
from flowbook.runtime import current, definitions
from flowbook.runtime.elsewhere import start_child
from flowbook.runtime.typed import converted

if TYPE_CHECKING:
    from flowbook.api.schedules import Schedule

P = ParamSpec("P")
R = TypeVar("R")


class Workflow(definitions.Workflow[P, R]):
    """A workflow. Call it inside another one; ``start`` it from outside."""

    def start(self, *args: Any, id: str | None = None, name: str = "", **kwargs: Any) -> Any:
        """Start a durable run and give it at once. The same ``id`` with the same arguments is the same run.

        With ``queue`` (a name, or a ``Queue`` with limits) it begins when the queue has room: of higher ``priority``
        first, those of one ``concurrency_key`` in turn with those of others.

        ``timeout`` is for the whole run. ``on_conflict`` says what an open run of this ``id`` means ("same",
        "use_existing", "fail", "terminate_existing"), ``on_closed`` what a closed one does ("same", "reject", "allow",
        "allow_failed"). ``signal=(name, value)`` is delivered with the start. ``attributes`` are to search by, ``memo``
        is for eyes.

        Inside a workflow it starts a child run and gives its handle: see ``start_child`` for what else it takes.
        """
        from flowbook.api import live
        from flowbook.api.options import taken
        from flowbook.api.starting import start

        if current.execution() is not None:
            return start_child(self, args, kwargs, id=id, name=name)
        live.refuse_while_loading(self)
        signature = inspect.signature(self.function)
        reserved = {"id": id, "name": name or None}
        kwargs |= {key: value for key, value in reserved.items() if key in signature.parameters and value is not None}
        options = taken(kwargs, signature.parameters)
        try:
            arguments = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise UserError(f"{self.name}.start(): {error}; it is {self.name}{signature}") from None
        # Sent as given: a worker converts them for its own copy of the code. Here, what does not fit is refused.
        converted(f"{self.name}.start()", self.function, arguments)
        connection = connect()
        module, found = live.compiled(self)
        own_id = None if "id" in signature.parameters else id
        own_name = "" if "name" in signature.parameters else name
        summary = start(connection, module, found, arguments, id=own_id, name=own_name, options=options)
        return Run(summary["id"], connection)

    def schedule(self, name: str, /, *args: Any, **options: Any) -> Schedule:
        """Have it started at certain times: ``nightly.schedule("nightly", cron="0 3 * * *", region="eu")``.

        Takes the options of ``flowbook.schedule`` and the workflow's own arguments.
        """
        from flowbook.api.schedules import schedule

        return schedule(self, name, *args, **options)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Start it and wait for its result."""
        return self.start(*args, **kwargs).result()


@overload
def workflow(function: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
@overload
def workflow(*, name: str = "") -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Workflow[P, R]]: ...
def workflow(function: Callable[..., Any] | None = None, /, *, name: str = "") -> Any:
    """Make an ``async`` function a durable workflow: ``@workflow`` or ``@workflow(name=...)``."""

    def make(target: Callable[..., Any]) -> Workflow[..., Any]:
        return Workflow(target, name)

    return make if function is None else make(function)
