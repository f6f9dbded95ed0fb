"""Instances of people's own data classes as plain data with the name of their class, and back.

Dataclasses, enums, named tuples, msgspec structs, attrs and pydantic models: what they are is their fields. Anything
with more to it (a state of its own, a base of C) is no record and is pickled.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any

import msgspec

from flowbook.errors import FlowbookError
from flowbook.wire.classes import Classes

_BASES = (dict, list, tuple, set, frozenset, str, bytes, int, float, complex, BaseException, type)
_OWN_STATE = ("__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__", "__copy__", "__deepcopy__")

Inner = Callable[[Any], Any]
"""Writes or reads what a record holds."""


def written(value: Any, classes: Classes, write: Inner) -> dict[str, Any] | None:
    """``{"$record": [class, {field: ...}]}`` and the like; None for what is no record."""
    kind = type(value)
    fields = None
    if isinstance(value, tuple):
        is_record = hasattr(kind, "_fields") and kind.__len__ is tuple.__len__
    else:
        fields = _fields(value)
        is_record = fields is not None or isinstance(value, enum.Enum)
    where = classes.name(kind) if is_record else None
    if where is None:
        return None
    named = ":".join(where)
    if isinstance(value, enum.Enum):
        return {"$enum": [named, value.name, write(value.value)]}
    if fields is None:
        return {"$named": [named, [write(item) for item in value]]}
    return {"$record": [named, {name: write(item) for name, item in fields.items()}]}


def read(tag: str, body: Any, classes: Classes, reading: Inner) -> Any:
    """The instance again. Raises FlowbookError where its class is not to be found, or is another one now."""
    kind = _class(body[0], classes)
    try:
        if tag == "$enum":
            return kind[body[1]] if body[1] in kind.__members__ else kind(reading(body[2]))
        if tag == "$named":
            return kind(*map(reading, body[1]))
        return _made(kind, {name: reading(item) for name, item in body[1].items()})
    except (TypeError, ValueError, AttributeError, msgspec.ValidationError) as error:
        name = body[0].partition(":")[2]
        raise FlowbookError(f"a saved {name} does not fit its class as it is now: {error}") from error


def is_record(kind: type) -> bool:
    """True for classes whose instances are their fields."""
    return isinstance(kind, type) and (
        dataclasses.is_dataclass(kind)
        or issubclass(kind, msgspec.Struct)
        or hasattr(kind, "__attrs_attrs__")
        or _is_model(kind)
    )


def _fields(value: Any) -> dict[str, Any] | None:
    """The fields of an instance; None where that is not all there is to it."""
    kind = type(value)
    if isinstance(value, _BASES) or not is_record(kind) or not _is_plain(kind):
        return None
    if _is_model(kind):
        state = value.__getstate__()
        more = state.get("__pydantic_extra__") or state.get("__pydantic_private__")
        return None if more else dict(state["__dict__"])
    names = _names(kind)
    try:
        found = {name: getattr(value, name) for name in names}
    except AttributeError:
        return None
    return found if set(getattr(value, "__dict__", ())) <= set(names) else None


def _names(kind: Any) -> tuple[str, ...]:
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    if issubclass(kind, msgspec.Struct):
        return tuple(kind.__struct_fields__)
    return tuple(attribute.name for attribute in kind.__attrs_attrs__)


def _is_plain(kind: Any) -> bool:
    """False for a class that says itself how it is copied or pickled."""
    if issubclass(kind, msgspec.Struct) or _is_model(kind):
        return True
    if any(getattr(kind, name, None) is not getattr(object, name, None) for name in _OWN_STATE):
        return False
    state = getattr(kind, "__getstate__", None)
    # Frozen ones with slots have one that says nothing of its own.
    of_library = getattr(state, "__module__", "") in ("dataclasses", "attr._make")
    return of_library or state is getattr(object, "__getstate__", None)


def _made(kind: Any, fields: dict[str, Any]) -> Any:
    if issubclass(kind, msgspec.Struct):
        return kind(**fields)
    made = kind.__new__(kind)
    if _is_model(kind):
        made.__setstate__(
            {
                "__dict__": {**_model_defaults(kind), **fields},
                "__pydantic_fields_set__": set(fields),
                "__pydantic_extra__": None,
                "__pydantic_private__": None,
            }
        )
        return made
    for name, item in {**_defaults(kind), **fields}.items():
        object.__setattr__(made, name, item)
    return made


def _defaults(kind: Any) -> dict[str, Any]:
    """Of fields that the class has got since."""
    if not dataclasses.is_dataclass(kind):
        return {}
    found = {}
    for field in dataclasses.fields(kind):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return found


def _model_defaults(kind: Any) -> dict[str, Any]:
    fields = kind.model_fields.items()
    return {name: field.get_default(call_default_factory=True) for name, field in fields if not field.is_required()}


def _is_model(kind: type) -> bool:
    """True for pydantic's models, without importing it."""
    return hasattr(kind, "__pydantic_core_schema__") and hasattr(kind, "model_fields")


def _class(where: str, classes: Classes) -> Any:
    module, _, name = where.partition(":")
    try:
        kind = classes.find(module, name)
    except LookupError as error:
        raise FlowbookError(
            f"the value is of class {name}, which is not to be found here ({error}); import the module it is from"
        ) from error
    if not (is_record(kind) or (isinstance(kind, type) and issubclass(kind, enum.Enum | tuple))):
        raise FlowbookError(f"the value is of class {name}, which is no data class any more")
    return kind
