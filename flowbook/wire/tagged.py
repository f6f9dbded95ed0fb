"""JSON with tags for Python's other plain types, so that a tuple comes back a tuple.

``{"$tuple": [1, 2]}``, ``{"$set": [...]}``, ``{"$datetime": "..."}`` and so on; a dict whose keys are not all plain
strings becomes ``{"$dict": [[key, value], ...]}``. Exact types only: a subclass is somebody's own type, which has a tag
only where it is a record (see ``records``).
"""

from __future__ import annotations

import base64
import datetime
import decimal
import pathlib
import sys
import uuid
from collections.abc import Callable
from math import isfinite
from typing import Any

from flowbook.errors import FlowbookError
from flowbook.wire import records
from flowbook.wire.classes import IMPORTABLE, Classes


class Untaggable(Exception):
    """The value holds something that has no tag."""


_WRITE: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bytes: ("$bytes", lambda v: base64.b64encode(v).decode()),
    complex: ("$complex", lambda v: [repr(v.real), repr(v.imag)]),
    datetime.datetime: ("$datetime", lambda v: v.isoformat()),
    datetime.date: ("$date", lambda v: v.isoformat()),
    datetime.time: ("$time", lambda v: v.isoformat()),
    datetime.timedelta: ("$timedelta", lambda v: [v.days, v.seconds, v.microseconds]),
    decimal.Decimal: ("$decimal", str),
    uuid.UUID: ("$uuid", str),
    pathlib.PosixPath: ("$path", str),
    range: ("$range", lambda v: [v.start, v.stop, v.step]),
}

_READ: dict[str, Callable[[Any], Any]] = {
    "$bytes": base64.b64decode,
    "$complex": lambda v: complex(float(v[0]), float(v[1])),
    "$datetime": datetime.datetime.fromisoformat,
    "$date": datetime.date.fromisoformat,
    "$time": datetime.time.fromisoformat,
    "$timedelta": lambda v: datetime.timedelta(*v),
    "$decimal": decimal.Decimal,
    "$uuid": uuid.UUID,
    "$path": pathlib.Path,
    "$range": lambda v: range(*v),
    "$float": float,
    "$int": int,
    "$numpy": lambda v: _numpy_scalar(v[0], v[1]),
}

_RECORDS = ("$record", "$enum", "$named")


def tag(value: Any, classes: Classes = IMPORTABLE, depth: int = 60) -> Any:
    """JSON data that ``untag`` turns back into ``value``. Raises Untaggable."""
    kind = type(value)
    if value is None or kind is str or kind is bool:
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**64 else {"$int": str(value)}
    if kind is float:
        return value if isfinite(value) else {"$float": repr(value)}
    if depth == 0:
        raise Untaggable

    def inner(item: Any) -> Any:
        return tag(item, classes, depth - 1)

    if kind is list:
        return [inner(item) for item in value]
    if kind is tuple:
        return {"$tuple": [inner(item) for item in value]}
    if kind is set or kind is frozenset:
        return {f"${kind.__name__}": sorted((inner(item) for item in value), key=repr)}
    if kind is dict:
        if all(type(key) is str and key[:1] != "$" for key in value):
            return {key: inner(item) for key, item in value.items()}
        return {"$dict": [[inner(key), inner(item)] for key, item in value.items()]}
    if kind in _WRITE:
        name, write = _WRITE[kind]
        return {name: write(value)}
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic) and value.dtype.kind in "biuf":
        return {"$numpy": [value.dtype.str, repr(value.item())]}
    record = records.written(value, classes, inner)
    if record is None:
        raise Untaggable
    return record


def untag(data: Any, classes: Classes = IMPORTABLE) -> Any:
    """The value ``tag`` was given. Raises FlowbookError where a class of it is not to be found."""

    def inner(data: Any) -> Any:
        if type(data) is list:
            return [inner(item) for item in data]
        if type(data) is not dict:
            return data
        if len(data) == 1:
            ((name, body),) = data.items()
            if name[:1] == "$":
                return special(name, body)
        return {key: inner(item) for key, item in data.items()}

    def special(name: str, body: Any) -> Any:
        match name:
            case "$tuple":
                return tuple(map(inner, body))
            case "$set":
                return set(map(inner, body))
            case "$frozenset":
                return frozenset(map(inner, body))
            case "$dict":
                return {inner(key): inner(item) for key, item in body}
            case _ if name in _RECORDS:
                return records.read(name, body, classes, inner)
            case _ if name in _READ:
                return _READ[name](body)
            case _:
                raise FlowbookError(f"this version knows no '{name}'; the history was written by a newer one")

    return inner(data)


def _numpy_scalar(dtype: str, text: str) -> Any:
    import numpy

    kind = numpy.dtype(dtype)
    return kind.type(text == "True" if kind.kind == "b" else float(text) if kind.kind == "f" else int(text))
