"""What a run can be started with besides its arguments: a time-out, what its id means, a first signal, labels."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, NamedTuple

from flowbook.api.connection import Connection, new_mark
from flowbook.api.queues import InQueue
from flowbook.core.chains import ON_CLOSED, ON_CONFLICT
from flowbook.core.duration import time_limit
from flowbook.core.messages import SendSignal
from flowbook.core.queues import Queue
from flowbook.errors import UserError


class Options(NamedTuple):
    """The options of ``start``. Durations are in seconds or texts like "30m"."""

    timeout: float | str | None = None
    on_conflict: str = "same"
    on_closed: str = "same"
    signal: tuple[str, Any] | None = None
    attributes: dict[str, Any] = {}
    memo: dict[str, Any] = {}
    queue: Queue | str | None = None
    priority: int = 0
    concurrency_key: str = ""

    def checked(self, connection: Connection) -> dict[str, Any]:
        """The fields of ``StartRun``. Raises UserError."""
        _one_of("on_conflict", self.on_conflict, ON_CONFLICT)
        _one_of("on_closed", self.on_closed, ON_CLOSED)
        return {
            "timeout": time_limit(self.timeout),
            "on_conflict": self.on_conflict,
            "on_closed": self.on_closed,
            "signals": self._signals(connection),
            "attributes": _plain(self.attributes),
            "memo": {name: connection.encode(value, name) for name, value in self.memo.items()},
            **InQueue(self.queue, self.priority, self.concurrency_key).checked(connection),
        }

    def _signals(self, connection: Connection) -> tuple[SendSignal, ...]:
        if self.signal is None:
            return ()
        if not isinstance(self.signal, (tuple, list)) or len(self.signal) != 2 or not isinstance(self.signal[0], str):
            raise UserError(f"signal={self.signal!r} is no signal; write signal=(name, value)")
        name, value = self.signal
        return (SendSignal(name, connection.encode(value, name), new_mark()),)


NO_OPTIONS = Options()


def taken(keywords: dict[str, Any], parameters: Container[str]) -> Options:
    """The options among ``keywords``, taken out of them; a parameter of the workflow of that name goes first."""
    names = [name for name in Options._fields if name in keywords and name not in parameters]
    return Options(**{name: keywords.pop(name) for name in names})


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f'{name}="{value}" is not known; it is one of {", ".join(known)}')


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    for name, value in attributes.items():
        if not isinstance(value, (str, int, float, bool)):
            kind = type(value).__name__
            raise UserError(f"attribute '{name}' is {kind}; attributes are text, numbers or true and false")
    return dict(attributes)
