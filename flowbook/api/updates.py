"""An update under way: the answer of a run's handler, or why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowbook.api.connection import Connection
from flowbook.errors import RunClosed, UpdateFailed, UpdateRejected

if TYPE_CHECKING:
    from flowbook.core.value import Value
    from flowbook.wire.calls import UpdateResult


class SentUpdate:
    """An update that is recorded with its run; ``result()`` waits until the handler has ended."""

    def __init__(
        self, connection: Connection, run: str, id: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.run = run
        self.id = id
        self.name = name
        self._recorded = ""
        self._connection = connection
        self._arguments = tuple(connection.encode(value, name) for value in args)
        self._keywords = {key: connection.encode(value, key) for key, value in kwargs.items()}

    def send(self) -> SentUpdate:
        """Have it recorded."""
        self._recorded = self._ask(wait=False)["run"]
        return self

    def result(self) -> Any:
        """What the handler gave. Raises UpdateRejected, UpdateFailed, or RunClosed where the run ended before."""
        if self._recorded:
            # The run may have gone on as a new one since, which is not to handle it again.
            found = self._connection.client.update_result(self._recorded, self.id, self.name)
        else:
            found = self._ask(wait=True)
        return answer(self._connection, self.name, found)

    def _ask(self, wait: bool) -> UpdateResult:
        return self._connection.client.update(self.run, self.name, self._arguments, self._keywords, self.id, wait)

    def __repr__(self) -> str:
        return f"<update {self.name} ({self.id}) of run {self.run}>"


def answer(connection: Connection, name: str, found: UpdateResult) -> Any:
    """The value of an update that has ended; raises what it ended with instead."""
    error = found["error"]
    if error is None:
        value: Value | None = found["value"]
        return None if value is None else connection.decode(value)
    if error.type == "RunClosed":
        raise RunClosed(f"update '{name}' of run {found['run']}: {error.message}")
    if found["status"] == "rejected":
        raise UpdateRejected(f"update '{name}' was rejected: {error.type}: {error.message}", error)
    raise UpdateFailed(f"update '{name}' failed: {error.type}: {error.message}", error)
