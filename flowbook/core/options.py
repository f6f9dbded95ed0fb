"""What runs are started with and told besides their arguments, checked before anything is done about it.

Each check gives what it was given and raises UserError, saying what is wrong and what to write, where it is of no use.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from flowbook.errors import UserError

ENDINGS = ("succeeded", "failed", "cancelled", "terminated", "continued")
"""What runs that have ended can be, to choose some by."""

STATUSES = ("running", "waiting", "queued", "paused", *ENDINGS)
"""What runs can be."""

_LARGEST = 2**63


def text(what: str, value: Any) -> str:
    """``value``, which has to be text that can be written down."""
    if not isinstance(value, str):
        raise UserError(f"{what} has to be text, not {_kind(value)} ({value!r:.80})")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UserError(f"{what} is {value!r:.80}, which is no text that can be written down") from None
    return value


def name(what: str, value: Any) -> str:
    """``value``, which has to be text, and some."""
    if not text(what, value):
        raise UserError(f"{what} has to be text, and is empty")
    return str(value)


def one_of(option: str, value: Any, known: tuple[str, ...]) -> str:
    """``value``, which has to be one of those that are known."""
    if value not in known:
        shown = f'"{value}"' if isinstance(value, str) else repr(value)
        raise UserError(f"{option}={shown} is not known; it is one of {', '.join(known)}")
    return str(value)


def attributes(given: Any) -> dict[str, Any]:
    """Labels by name: text, numbers, true and false."""
    found = _mapping("attributes", given, 'attributes={"customer": "ada"}')
    for label, value in found.items():
        attribute(label, value)
    return found


def attribute(label: str, value: Any) -> None:
    """One label, which people search by."""
    what = f"attribute '{label}'"
    if isinstance(value, str):
        text(what, value)
    elif not isinstance(value, int | float):
        raise UserError(f"{what} is {_kind(value)}; attributes are text, numbers or true and false")
    elif not isfinite(value) or (isinstance(value, int) and not -_LARGEST <= value < _LARGEST):
        raise UserError(f"{what} is {value!r:.80}, a number that cannot be searched by")


def memo(given: Any) -> dict[str, Any]:
    """Notes by name: values of any kind that can be saved."""
    return _mapping("memo", given, 'memo={"note": "for eyes"}')


def first_signal(given: Any) -> tuple[str, Any] | None:
    """A signal that is delivered with the start, as name and value."""
    if given is None:
        return None
    if not isinstance(given, tuple | list) or len(given) != 2 or not isinstance(given[0], str) or not given[0]:
        raise UserError(f"signal={given!r:.80} is no signal; write signal=(name, value)")
    return text("a signal's name", given[0]), given[1]


def _mapping(option: str, given: Any, example: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise UserError(f"{option}={given!r:.80} is {_kind(given)}; write for example {example}")
    for key in given:
        text(f"a name in {option}", key)
    return dict(given)


def _kind(value: Any) -> str:
    return type(value).__name__
