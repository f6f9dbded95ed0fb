"""How a run changes: it goes on as a new one, takes a new branch of its code, or is labelled to be found."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NoReturn

from flowbook.core import events as e
from flowbook.core.chains import following
from flowbook.core.ids import Seq
from flowbook.errors import UserError
from flowbook.runtime import current
from flowbook.wire import codec

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution


class ContinueAsNew(BaseException):
    """Ends the workflow's code on its way to a new run; nothing should catch it."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        super().__init__("the run goes on as a new one")
        self.arguments = arguments


def continue_as_new(*args: Any, **kwargs: Any) -> NoReturn:
    """End this run and go on as a new one of the same id, with these arguments and an empty history.

    Signals and updates nobody has read are carried over; updates being handled are finished first. Does not return.
    """
    execution = current.required("continue_as_new()")
    signature = inspect.signature(execution.workflow.function)
    try:
        arguments = dict(signature.bind(*args, **kwargs).arguments)
    except TypeError as error:
        name = execution.workflow.name
        raise UserError(f"continue_as_new(): {error}; {name} is {name}{signature}") from None
    raise ContinueAsNew(arguments)


def continued(execution: Execution, request: ContinueAsNew, cancel: e.CancelRequested | None) -> e.RunContinued:
    """The fact that ends the run, with all that it has not read, and a ``cancel`` that it has not heard."""
    save = execution.values.save
    return e.RunContinued(
        run=following(execution.id),
        arguments={name: codec.encode(value, save, name) for name, value in request.arguments.items()},
        signals=tuple(signal for waiting in execution.inbox.values() for signal in waiting),
        updates=tuple(execution.handlers.unread),
        seen=Seq(execution.seq),
        cancel=cancel,
    )


def patched(id: str) -> bool:
    """True where this run should take the new branch; remembered, so that it takes the same one for ever.

    A run that has passed this point with older code takes the old branch; every other one takes the new.
    """
    execution = current.required("patched()")
    return execution.patches.take(execution, id)


class Patches:
    """Which branches this run takes."""

    def __init__(self) -> None:
        self._taken: dict[str, bool] = {}

    def take(self, execution: Execution, id: str) -> bool:
        """See ``patched``."""
        if id not in self._taken:
            expected = execution.expected
            # What was recorded and is yet to be asked for, older code has asked for after this point.
            is_new = id in expected.patches or not (expected.asked or expected.closed)
            if is_new and id not in expected.patches:
                execution.report(e.PatchMarked(id=id))
            self._taken[id] = is_new
        return self._taken[id]


def set_attributes(**attributes: Any) -> None:
    """Set what the run can be searched by: plain JSON values; None removes one."""
    execution = current.required("set_attributes()")
    for name, value in attributes.items():
        if not isinstance(value, str | int | float | bool | None):
            raise UserError(
                f"attribute '{name}' is {type(value).__name__}; attributes are text, numbers or true and false"
            )
    key = execution.key("attributes")
    execution.note("attributes", key, e.AttributesSet(key=key, attributes=attributes))


def history_length() -> int:
    """Events in the run's history so far: when to go on as a new one is the workflow's to decide."""
    return current.required("history_length()").seq
