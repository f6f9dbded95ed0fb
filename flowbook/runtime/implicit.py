"""Functions that become steps without a decorator: ``record``, ``asyncio.to_thread``, ``anyio.to_thread.run_sync``.

They may be given what cannot be saved (a connection, a session): that is passed on as it is. What can be saved is copied, as
for every step, so that what they change in it is seen by nobody, the first time and when the run is re-executed.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from flowbook.errors import NotDeterministic, UnsavableValue
from flowbook.runtime.definitions import Step
from flowbook.wire.codec import type_name

if TYPE_CHECKING:
    from flowbook.runtime.values import Values

_CHANGING = (list, dict, set, bytearray, deque)
_OF_LOOPS = ("asyncio", "anyio")


class Implicit(Step[..., Any]):
    """A step of a plain function."""


def step(function: Callable[..., Any]) -> Implicit:
    """The function as a step. Raises NotDeterministic for one that changes the workflow's own objects."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, _CHANGING) or type(owner).__module__.partition(".")[0] in _OF_LOOPS:
        name = f"{type(owner).__name__}.{getattr(function, '__name__', 'method')}"
        raise NotDeterministic(
            f"{name} in a thread changes an object of the workflow, which re-execution would not do again; "
            "call it here, or have a step return what is new"
        )
    return Implicit(function, name=_name(function))


def unwrapped(
    function: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """The function inside partials, with all its arguments; the context that ``to_thread`` runs it in is a step's own."""
    kwargs: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        args, kwargs, function = (*function.args, *args), {**function.keywords, **kwargs}, function.func
    if isinstance(getattr(function, "__self__", None), Context) and args:
        return unwrapped(args[0], args[1:]) if not kwargs else (args[0], args[1:], kwargs)
    return function, args, kwargs


def _name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", "") or type(function).__name__
    return "lambda" if name == "<lambda>" else name


def argument(values: Values, value: Any, parts: list[bytes], name: str, step: str) -> Any:
    """As ``Values.argument``; what cannot be saved is told apart by its type alone."""
    before = len(parts)
    try:
        return values.argument(value, parts, name, step)
    except UnsavableValue:
        del parts[before:]
        parts += [name.encode(), type_name(value).encode()]
        return value
