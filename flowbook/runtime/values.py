"""The values an execution meets: decoded for the code, encoded for its steps."""

from __future__ import annotations

import inspect
from typing import Any

from flowbook.core.value import Value
from flowbook.errors import MissingValue, UnloadableValue, UnsavableValue
from flowbook.runtime.commands import Argument
from flowbook.wire import codec
from flowbook.wire.classes import IMPORTABLE, Classes

_IMMUTABLE = frozenset((str, int, float, bool, type(None)))


def are_plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """True where no argument needs more than to be passed on: quick, for what nearly every call is."""
    return _IMMUTABLE.issuperset(map(type, args)) and (not kwargs or _IMMUTABLE.issuperset(map(type, kwargs.values())))


class Values:
    """Moves values between events and code. ``save`` and ``load`` move the bytes of long ones; ``classes`` are the
    run's.
    """

    def __init__(self, save: codec.Save, load: codec.Load, classes: Classes = IMPORTABLE) -> None:
        self.save = save
        self.load = load
        self.classes = classes

    def encoded(self, value: Any, name: str = "") -> Value:
        """``value`` as it is recorded; ``name`` is what people call it. Raises UnsavableValue."""
        try:
            return codec.encode(value, self.save, name, self.classes)
        except UnsavableValue:
            if not inspect.isawaitable(value):
                raise
            text = f"the value '{name}' is no value yet but a {type(value).__name__}: write 'await' in front of it"
            raise UnsavableValue(text) from None

    def decoded(self, value: Value) -> Any:
        """The Python value."""
        return codec.decode(value, self.load, classes=self.classes)

    def sent(self, value: Value, what: str) -> Any:
        """A value that somebody sent. Raises UnloadableValue where this run's code cannot have it."""
        try:
            return self.decoded(value)
        except MissingValue:
            # Its file may be brought back.
            raise
        except Exception as error:
            kind = f" of type {value.type}" if value.type else ""
            text = f"{what}: its value{kind} cannot be loaded by this run's code: {type(error).__name__}: {error}"
            raise UnloadableValue(text) from None

    def argument(self, value: Any, parts: list[bytes], name: str, called: str) -> Any:
        """What a step is given for ``value``, as it is now; what it adds to the command's digest goes to ``parts``.

        Raises UnsavableValue with what the argument is ``called``.
        """
        parts.append(name.encode())
        if type(value) in _IMMUTABLE:
            parts.append(repr(value).encode())
            return value
        encoded = self.encoded(value, called)
        parts.append(codec.fingerprint(encoded))
        return Argument(encoded)
