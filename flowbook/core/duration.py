"""Durations and sizes as people write them: "30s", "10m", "2h", "1d", "1h30m", "250ms"; "512MB", "2GB"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import inf, isinf

from flowbook.errors import UserError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_NUMBER = r"(?:\d+(?:\.\d+)?|\.\d+)"
_PART = re.compile(rf"({_NUMBER})\s*(ms|s|m|h|d|w)")


def seconds(duration: float | int | str) -> float:
    """The duration in seconds.

    Raises UserError where the text is not a duration or the number is negative.
    """
    if isinstance(duration, (int, float)) and not isinstance(duration, bool):
        if duration < 0 or duration != duration:
            raise UserError(f"a duration cannot be {duration}; write seconds, or for example '30s' or '2h'")
        return float(duration)
    text = str(duration).strip().lower()
    if re.fullmatch(_NUMBER, text):
        return _finite(float(text), text)
    parts = _PART.findall(text)
    if not parts or re.sub(r"\s", "", _PART.sub("", text)):
        raise UserError(f"'{duration}' is not a duration; write for example '250ms', '30s', '10m', '2h' or '1h30m'")
    return _finite(sum(float(number) * _UNITS[unit] for number, unit in parts), text)


def finite(duration: float | int | str) -> float:
    """The duration in seconds, for what has an end. Raises UserError as ``seconds`` does, and for infinity."""
    return _finite(seconds(duration), str(duration))


def _finite(length: float, text: str) -> float:
    if isinf(length):
        raise UserError(f"'{text}' is longer than any time there is")
    return length


def seconds_with_unit(text: str) -> float:
    """The same for a text that has to say its unit. Raises UserError for a bare number."""
    if re.fullmatch(r"\d+(\.\d+)?", text.strip()):
        number = text.strip()
        raise UserError(f"'{number}' has no unit; write '{number}d' for days, '{number}h' for hours, 'm', 's' or 'w'")
    return seconds(text)


def time_limit(timeout: float | int | str | None) -> float:
    """How long a run may take, in seconds; 0 where no ``timeout`` is given. Raises UserError for one of no length."""
    if timeout is None:
        return 0.0
    length = seconds(timeout)
    if not 0 < length < inf:
        raise UserError(f"timeout={timeout!r} leaves a run no time, or all of it; for no time limit, leave it out")
    return length


def setting(environment: Mapping[str, str], name: str, default: float, read: Callable[[str], float] = seconds) -> float:
    """A duration, or what else ``read`` reads, that the environment may give. Raises UserError naming the variable."""
    text = environment.get(name, "").strip()
    try:
        return read(text) if text else default
    except UserError as error:
        raise UserError(f"{name} is set to '{text}': {error}") from None


def whole(text: str) -> int:
    """A number of things, at least 1. Raises UserError where the text is none."""
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise UserError(f"'{text}' is not a whole number of at least 1")
    return int(text)


def spoken(length: float) -> str:
    """The shortest usual form: 0.25 -> '250ms', 90 -> '1m30s', 7200 -> '2h'."""
    if length < 1:
        return f"{round(length * 1000)}ms"
    if length < 60:
        return f"{length:.3g}s"
    rest, out = round(length), ""
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, int(_UNITS[unit]))
        if count:
            out += f"{count}{unit}"
    return out


_SIZES = {"": 1, "b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3}


def size(text: int | str) -> int:
    """Bytes. Raises UserError where the text is no size."""
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(text).strip().lower())
    if found is None or found[2] not in _SIZES:
        raise UserError(f"'{text}' is not a size; write for example '512MB' or '2GB'")
    return int(float(found[1]) * _SIZES[found[2]])


def spoken_size(length: int) -> str:
    """Bytes in the usual form: 629145600 -> '600MB'."""
    unit = next((unit for unit in ("gb", "mb", "kb") if length >= _SIZES[unit]), "b")
    return f"{length / _SIZES[unit]:.4g}{unit.upper()}"
