"""Functions that become steps without a decorator: ``record``, ``asyncio.to_thread``, ``anyio.to_thread.run_sync``.

They may be given what cannot be saved (a connection, a session): that is passed on as it is. What can be saved is
copied, as for every step, so that what they change in it is seen by nobody, the first time and when the run is
re-executed.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from contextvars import Context
from types import CellType, FunctionType
from typing import TYPE_CHECKING, Any

from flowbook.core import keys
from flowbook.core.ids import Digest
from flowbook.errors import NotDeterministic, UnsavableValue
from flowbook.runtime.commands import Argument
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
        raise _changes(f"{type(owner).__name__}.{getattr(function, '__name__', 'method')}")
    return Implicit(function, name=_name(function))


def _changes(what: str) -> NotDeterministic:
    return NotDeterministic(
        f"{what} in a thread would change an object of the workflow, which re-execution would not do again; "
        "call it here, or have a step return what is new"
    )


def unwrapped(
    function: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """The function inside partials, with all its arguments; the context that ``to_thread`` runs it in is a step's
    own.
    """
    kwargs: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        args, kwargs, function = (*function.args, *args), {**function.keywords, **kwargs}, function.func
    if isinstance(getattr(function, "__self__", None), Context) and args:
        return unwrapped(args[0], args[1:]) if not kwargs else (args[0], args[1:], kwargs)
    return function, args, kwargs


def _name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", "") or type(function).__name__
    return "lambda" if name == "<lambda>" else name


def given(
    step: Implicit, args: tuple[Any, ...], kwargs: dict[str, Any], values: Values
) -> tuple[Implicit, tuple[Any, ...], dict[str, Any], Digest]:
    """The step with what it is given, and what it closes over, as it is now; and the command's digest."""
    parts: list[bytes] = []
    args = tuple([_argument(values, value, parts, "", step.name) for value in args])
    kwargs = {name: _argument(values, value, parts, name, step.name) for name, value in kwargs.items()}
    function = step.function
    if isinstance(function, FunctionType) and function.__closure__:
        names = function.__code__.co_freevars
        cells = [_cell(values, cell, parts, name) for name, cell in zip(names, function.__closure__, strict=True)]
        own = FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, tuple(cells)
        )
        own.__kwdefaults__ = function.__kwdefaults__
        step = Implicit(own, name=step.name)
    return step, args, kwargs, keys.digest(step.name, parts)


def _cell(values: Values, cell: CellType, parts: list[bytes], name: str) -> CellType:
    """The variable, in a copy where it holds plain data that can be changed."""
    try:
        content = cell.cell_contents
    except ValueError:
        return cell
    if type(content).__module__.partition(".")[0] in _OF_LOOPS:
        raise _changes(f"a function that uses '{name}' ({type(content).__name__})")
    if not isinstance(content, _CHANGING):
        return cell
    found = _argument(values, content, parts, name, "")
    return CellType(values.decoded(found.value)) if isinstance(found, Argument) else cell


def _argument(values: Values, value: Any, parts: list[bytes], name: str, step: str) -> Any:
    """As ``Values.argument``; what cannot be saved is told apart by its type alone."""
    before = len(parts)
    try:
        return values.argument(value, parts, name, step)
    except UnsavableValue:
        del parts[before:]
        parts += [name.encode(), type_name(value).encode()]
        return value
