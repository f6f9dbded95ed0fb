"""What a run can be started with besides its arguments: an id and what it means, a time-out, a first signal, labels."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, NamedTuple

from flowbook.api.connection import Connection, new_mark
from flowbook.api.queues import InQueue
from flowbook.core import options
from flowbook.core.chains import ON_CLOSED, ON_CONFLICT, check_new_id
from flowbook.core.duration import time_limit
from flowbook.core.messages import SendSignal
from flowbook.core.queues import Queue
from flowbook.errors import UserError
from flowbook.runtime import children


class Options(NamedTuple):
    """The options of ``start``. Durations are in seconds or texts like "30m"."""

    id: str | None = None
    name: str = ""
    timeout: float | str | None = None
    on_conflict: str = "same"
    on_closed: str = "same"
    signal: tuple[str, Any] | None = None
    attributes: Mapping[str, Any] = {}
    memo: Mapping[str, Any] = {}
    queue: Queue | str | None = None
    priority: int = 0
    concurrency_key: str = ""

    def checked(self, connection: Connection) -> dict[str, Any]:
        """The fields of ``StartRun``, but for the id. Raises UserError."""
        if self.id is not None:
            check_new_id(self.id)
        options.one_of("on_conflict", self.on_conflict, ON_CONFLICT)
        options.one_of("on_closed", self.on_closed, ON_CLOSED)
        return {
            "name": options.text("the name of the run", self.name),
            "timeout": time_limit(self.timeout),
            "on_conflict": self.on_conflict,
            "on_closed": self.on_closed,
            "signals": self._signals(connection),
            "attributes": options.attributes(self.attributes),
            "memo": {name: connection.encode(value, name) for name, value in options.memo(self.memo).items()},
            **InQueue(self.queue, self.priority, self.concurrency_key).checked(connection),
        }

    def _signals(self, connection: Connection) -> tuple[SendSignal, ...]:
        signal = options.first_signal(self.signal)
        if signal is None:
            return ()
        name, value = signal
        return (SendSignal(name, connection.encode(value, name), new_mark()),)


NO_OPTIONS = Options()
OPTIONS = frozenset((*Options._fields, *children.Options._fields))
"""Names of all options, also of those that only a child has."""


def taken(keywords: dict[str, Any], parameters: Container[str]) -> Options:
    """The options among ``keywords``, taken out of them; a parameter of the workflow of that name goes first."""
    names = [name for name in Options._fields if name in keywords and name not in parameters]
    return Options(**{name: keywords.pop(name) for name in names})


def chosen(workflow: str, given: Mapping[str, Any]) -> Options:
    """The options of a run that is started from outside. Raises UserError for those that only a child has."""
    for name in given:
        if name not in Options._fields:
            raise UserError(f"{workflow}.start(): {name}=... says what a child run is to its parent; this run has none")
    return Options(**given)
