"""What is known of a call of a step, and whether that is enough to call what takes it back."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from flowbook.core.value import Value
from flowbook.errors import UserError

if TYPE_CHECKING:
    from flowbook.runtime.begun import Begun
    from flowbook.runtime.definitions import Step
    from flowbook.runtime.values import Values

KEY: Final = "idempotency_key"
"""A parameter of this name is given the key under which the step asked for what is to be taken back."""

MISSING: Final = object()

_BY_PLACE = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)
_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments by place and by name."""


class Known:
    """A call's arguments by name and, once it has been made, its idempotency key and its ``result``.

    ``key`` is "" as long as it is not known.
    """

    def __init__(self, step: Step[..., Any], arguments: dict[str, Any], key: str = "") -> None:
        self.step = step
        self.arguments = arguments
        self.key = key
        self.result: Any = MISSING

    @classmethod
    def of(cls, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Known:
        """What is known of ``step(*args, **kwargs)`` before it begins."""
        names, many = step.parameters, _many(step)
        if not many:
            return cls(step, {**dict(zip(names, args, strict=False)), **kwargs})
        place = names.index(many)
        return cls(step, {**dict(zip(names[:place], args, strict=False)), many: args[place:], **kwargs})

    async def learn(self, begun: Begun) -> None:
        """Have the step end that was begun with these arguments, and know its key, and its result if it has one."""
        await begun.ended()
        self.key = begun.idempotency_key
        if begun.has_result:
            self.result = begun.task.result()

    def encoded(self, values: Values) -> dict[str, Value]:
        """The arguments, to be recorded."""
        return {
            name: values.encoded(value, f"{name} given to {self.step.name}") for name, value in self.arguments.items()
        }

    # By name: undos

    def for_undo(self, undo: Step[..., Any]) -> dict[str, Any] | None:
        """The undo's arguments, which it finds by name among the step's arguments and outputs.

        ``result``, or a single parameter of another name, is what the step returned. None where something is missing.
        """
        known = {KEY: self.key, **self.arguments} if self.key else {**self.arguments}
        if self.result is not MISSING:
            known |= {"result": self.result, **self._outputs()}
        needed = _needed(undo)
        missing = [name for name in needed if name not in known]
        if len(needed) == 1 and missing and self.result is not MISSING:
            known[missing.pop()] = self.result
        return None if missing else {name: known[name] for name in undo.parameters if name in known}

    def _outputs(self) -> dict[str, Any]:
        names = self.step.outputs
        if self.result is None or not names:
            return dict.fromkeys(names)
        return {names[0]: self.result} if len(names) == 1 else dict(zip(names, self.result, strict=True))

    def check_undo(self, undo: Step[..., Any]) -> None:
        """Raise UserError where the undo could not be called even after the step has returned."""
        after = Known(self.step, self.arguments, KEY)
        after.result = None
        if after.for_undo(undo) is None:
            known = ", ".join((*self.arguments, *self.step.outputs, "result", KEY))
            left = [name for name in _needed(undo) if name in self.step.parameters and name not in self.arguments]
            raise UserError(
                f"undo '{undo.name}' of step '{self.step.name}' takes {', '.join(undo.parameters)}; "
                f"what is known is {known}"
                + (f". '{left[0]}' was left to its default: give it to '{self.step.name}'" if left else "")
            )

    # By place: poll, cancel and confirm

    def for_cancel(self, step: Step[..., Any]) -> Call | None:
        """The arguments of what follows an operation's start. None where it needs a result and there is none.

        First comes what that returned, then, by name, what it wants of the start's own arguments and idempotency key.
        """
        first, others = _parameters(step)
        known = {KEY: self.key, **self.arguments}
        named = {each.name: known[each.name] for each in others if each.name in known}
        if first is None:
            return (), named
        if self.result is not MISSING:
            return (self.result,), named
        return None if first.default is inspect.Parameter.empty else ((), named)

    def check_cancel(self, what: str, step: Step[..., Any]) -> None:
        """Raise UserError where ``step``, which is the operation's ``what``, wants what will never be known."""
        _, others = _parameters(step)
        needed = [each.name for each in others if each.default is inspect.Parameter.empty]
        unknown = [name for name in needed if name != KEY and name not in self.arguments]
        if unknown:
            raise UserError(
                f"{what} '{step.name}' takes '{unknown[0]}', which is no argument given to '{self.step.name}'; it gets "
                f"what '{self.step.name}' returned and, by name, arguments given to it and its {KEY}"
            )


def spread(step: Step[..., Any], named: dict[str, Any]) -> Call:
    """Arguments by name as a call takes them: those of ``*paths`` one by one."""
    many = _many(step)
    if many in named and not isinstance(named[many], list | tuple):
        named = {**named, many: (named[many],)}
    bound = inspect.BoundArguments(inspect.signature(step.function), OrderedDict(named))
    return bound.args, bound.kwargs


def _many(step: Step[..., Any]) -> str:
    """The name of its ``*paths``, "" where it has none."""
    return next((each.name for each in _signature(step) if each.kind is inspect.Parameter.VAR_POSITIONAL), "")


def _needed(step: Step[..., Any]) -> list[str]:
    return [each.name for each in _signature(step) if each.default is inspect.Parameter.empty]


def _signature(step: Step[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(step.function).parameters.values())


def _parameters(step: Step[..., Any]) -> tuple[inspect.Parameter | None, list[inspect.Parameter]]:
    """The parameter that a result is given to, and those that may be given something by name."""
    parameters = _signature(step)
    first = next((each for each in parameters if each.kind in _BY_PLACE and each.name != KEY), None)
    return first, [each for each in parameters if each is not first and each.kind not in _MANY]
