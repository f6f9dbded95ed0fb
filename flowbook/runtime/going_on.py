"""How a run changes: it goes on as a new one, takes a new branch of its code, or is labelled to be found."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NoReturn

from flowbook.core import events as e
from flowbook.core.chains import following
from flowbook.core.ids import Key, Seq
from flowbook.errors import UserError
from flowbook.runtime import current, typed
from flowbook.runtime.listeners import handling

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution


class ContinueAsNew(BaseException):
    """Ends the workflow's code on its way to a new run; nothing should catch it."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        super().__init__("the run goes on as a new one")
        self.arguments = arguments


def continue_as_new(*args: Any, **kwargs: Any) -> NoReturn:
    """End this run and go on as a new one of the same id, with these arguments and an empty history.

    Signals and updates nobody has read are carried over; those being handled are finished first. Open children stay
    children. Does not return. A handler cannot call it: what it sets, the workflow can see. Nor can a saga's block, or
    code beside which an operation goes on: that would be taken back.
    """
    execution = current.required("continue_as_new()")
    if handling.get():
        raise UserError(
            f"continue_as_new() cannot be called in {handling.get()}, which is not the workflow's end: "
            "set a variable there, and have the workflow itself call it"
        )
    around = execution.duties.around(execution.handlers.running)
    if around:
        raise UserError(
            f"continue_as_new() inside {around} would end the run and take back what that has done; "
            "leave the block first, or wait for the operation, and call it after that"
        )
    name, function = execution.workflow.name, execution.workflow.function
    signature = inspect.signature(function)
    try:
        arguments = dict(signature.bind(*args, **kwargs).arguments)
    except TypeError as error:
        raise UserError(f"continue_as_new(): {error}; {name} is {name}{signature}") from None
    # The new run converts them itself; what does not fit is this one's mistake.
    typed.converted(f"continue_as_new() of {name}", function, arguments)
    raise ContinueAsNew(arguments)


def going_on(error: BaseException | None) -> ContinueAsNew | None:
    """The request to go on that the workflow's code ended with, also where a task of a group made it."""
    if isinstance(error, BaseExceptionGroup):
        asked, others = error.split(ContinueAsNew)
        return going_on(asked.exceptions[0]) if asked is not None and others is None else None
    return error if isinstance(error, ContinueAsNew) else None


def continued(execution: Execution, request: ContinueAsNew, cancel: e.CancelRequested | None) -> e.RunContinued:
    """The fact that ends the run, with all that it has not read, and a ``cancel`` that it has not heard."""
    encode = execution.values.encoded
    return e.RunContinued(
        run=following(execution.id),
        arguments={name: encode(value, name) for name, value in request.arguments.items()},
        signals=tuple(signal for waiting in execution.inbox.values() for signal in waiting),
        updates=tuple(execution.handlers.unread),
        seen=Seq(execution.seq),
        cancel=cancel,
    )


def patched(id: str) -> bool:
    """True where this run should take the new branch; remembered, so that it takes the same one for ever.

    A run that has passed this point with older code takes the old branch; every other one takes the new. That is
    recorded before any step begins which is asked for after it.
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
            is_marked = expected.is_noted("patch", Key(id))
            # What was recorded and is yet to be asked for, older code has asked for after this point.
            is_new = is_marked or not (expected.asked or expected.closed or expected.is_past)
            if is_new and not is_marked:
                execution.note("patch", Key(id), e.PatchMarked(id=id))
                execution.record_first("patch", id)
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
