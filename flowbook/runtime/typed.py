"""Arguments as a function's annotations say: JSON becomes dataclasses, dates, enums; what does not fit is refused.

Plain data is converted by msgspec, and by pydantic where a class is one of its models. Anything else has to be what the
annotation names. Annotations that cannot be checked (tables of a library, protocols) are left alone.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import numbers
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any, get_args, get_origin

import msgspec

from flowbook.errors import UserError
from flowbook.wire.codec import type_name

_PLAIN = (dict, list, str, int, float, bool, type(None))
_NUMBERS: dict[type, type] = {int: numbers.Integral, float: numbers.Real, complex: numbers.Complex}
_MANY = (list, set, frozenset, tuple, collections.abc.Sequence, collections.abc.Set, collections.abc.Iterable)
_MAPS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def _types(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotated parameters; none where the annotations cannot be read."""
    # One that is made anew for each run would keep the run's variables in memory.
    is_lasting = "<locals>" not in getattr(function, "__qualname__", "<locals>")
    return _known_types(function) if is_lasting else _read_types(function)


def _read_types(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}
    return {name: hint for name, hint in hints.items() if name != "return" and hint is not Any}


_known_types = functools.lru_cache(maxsize=512)(_read_types)


def converted(what: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """``arguments`` of ``function``, converted. Raises UserError naming the first that does not fit."""
    types = _types(function)
    return {
        name: convert(what, name, value, types[name]) if name in types else value for name, value in arguments.items()
    }


def bound(
    what: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call of ``function``, converted. Raises UserError where it takes no such."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        # A builtin that does not say what it takes.
        return tuple(args), dict(kwargs)
    try:
        call = signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise UserError(f"{what}: {error}; it is {name}{signature}") from None
    types = _types(function)
    for name, value in call.arguments.items():
        if name in types:
            wanted, kind = types[name], signature.parameters[name].kind
            if kind is Parameter.VAR_POSITIONAL:
                call.arguments[name] = tuple([convert(what, name, item, wanted) for item in value])
            elif kind is Parameter.VAR_KEYWORD:
                call.arguments[name] = {key: convert(what, key, item, wanted) for key, item in value.items()}
            else:
                call.arguments[name] = convert(what, name, value, wanted)
    return call.args, call.kwargs


def takes(function: Callable[..., Any], place: int, value: Any) -> bool:
    """False where what stands at this place in a call of ``function`` cannot be ``value``, by its annotation."""
    by_place = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.VAR_POSITIONAL)
    try:
        found = [p for p in inspect.signature(function).parameters.values() if p.kind in by_place]
    except ValueError:
        return True
    types = _types(function)
    names = [p.name for p in (found[place : place + 1] or [p for p in found if p.kind is Parameter.VAR_POSITIONAL])]
    try:
        for name in names:
            convert("", name, value, types.get(name, Any))
    except UserError:
        return False
    return True


def convert(what: str, name: str, value: Any, wanted: Any) -> Any:
    """``value`` as ``wanted``, as far as it is plain. Raises UserError where it certainly is something else."""
    reason = ""
    if type(value) in _PLAIN:
        try:
            made = msgspec.convert(value, wanted, dec_hook=_made)
        except (msgspec.ValidationError, ValueError) as error:
            if type(wanted) is type and isinstance(value, wanted):
                return value
            reason = f" ({error})"
        except TypeError:
            # No type of JSON; the code itself will say what it thinks of it.
            return value
        else:
            return value if made == value and type(made) is type(value) else made
    if not reason and _fits(value, wanted):
        return value
    shown = getattr(wanted, "__name__", None) if isinstance(wanted, type) else None
    raise UserError(
        f"{what}: '{name}' must be {shown or wanted}, not {type_name(value)} {value!r:.80}{reason}"
    ) from None


def _made(kind: type, data: Any) -> Any:
    """An instance of a class that msgspec does not know."""
    if hasattr(kind, "model_validate"):
        return kind.model_validate(data)
    if isinstance(data, kind):
        return data
    raise TypeError(kind)


def _fits(value: Any, wanted: Any) -> bool:
    """False only where the value is certainly not what the annotation says."""
    origin, inside = get_origin(wanted), get_args(wanted)
    if wanted is None:
        return value is None
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in inside)
    if origin is typing.Annotated:
        return _fits(value, inside[0])
    kind = origin or wanted
    if not isinstance(kind, type) or not _is_instance(value, _NUMBERS.get(kind, kind)):
        return not isinstance(kind, type)
    if kind in _MANY and inside and isinstance(value, list | set | frozenset | tuple):
        each = inside[:1] if kind is not tuple or inside[-1] is ... else inside
        if kind is tuple and inside[-1] is not ...:
            return len(value) == len(each) and all(map(_fits, value, each))
        return all(_fits(item, each[0]) for item in value)
    if kind in _MAPS and len(inside) == 2 and isinstance(value, dict):
        return all(_fits(key, inside[0]) and _fits(item, inside[1]) for key, item in value.items())
    return True


def _is_instance(value: Any, kind: type) -> bool:
    try:
        return isinstance(value, kind)
    except TypeError:
        # Typed dicts, protocols: nothing to be said.
        return True
