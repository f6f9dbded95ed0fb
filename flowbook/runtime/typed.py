"""Arguments as a function's annotations say: JSON becomes dataclasses, dates, enums; what does not fit is refused.

Conversion is msgspec's. Annotations it does not know (tables, arrays, classes of your own) are left alone.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from flowbook.errors import UserError

_PLAIN = (dict, list, str, int, float, bool, type(None))


@functools.lru_cache(maxsize=512)
def _types(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotated parameters; none where the annotations cannot be read."""
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}
    return {name: hint for name, hint in hints.items() if name != "return" and hint is not Any}


def converted(what: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """``arguments`` of ``function``, converted. Raises UserError naming the first that does not fit."""
    types = _types(function)
    return {
        name: _convert(what, name, value, types[name]) if name in types else value for name, value in arguments.items()
    }


def _convert(what: str, name: str, value: Any, wanted: Any) -> Any:
    if not isinstance(value, _PLAIN):
        return value
    try:
        made = msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        if isinstance(wanted, type) and isinstance(value, wanted):
            return value
        shown = getattr(wanted, "__name__", None) or str(wanted)
        raise UserError(f"{what}: '{name}' must be {shown}, not {value!r:.80} ({error})") from None
    except TypeError:
        # No type of JSON; the code itself will say what it thinks of it.
        return value
    return value if made == value and type(made) is type(value) else made
