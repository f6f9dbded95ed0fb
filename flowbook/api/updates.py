"""An update under way: the answer of a run's handler, or why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flowbook.api.connection import Connection
from flowbook.core.duration import seconds
from flowbook.errors import RunClosed, UpdateFailed, UpdateRejected

if TYPE_CHECKING:
    from flowbook.core.value import Value
    from flowbook.wire.calls import UpdateResult


T = TypeVar("T", covariant=True)


class SentUpdate(Generic[T]):
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

    def send(self) -> SentUpdate[T]:
        """Have it recorded."""
        self._recorded = self._ask(wait=False)["run"]
        return self

    def result(self, timeout: float | str | None = None) -> T:
        """What the handler gave.

        Raises UpdateRejected, UpdateFailed, RunClosed where the run ended before, or TimeoutError: it stays recorded
        with the run and may be handled later.
        """
        limit = None if timeout is None else seconds(timeout)
        try:
            if self._recorded:
                # The run may have gone on as a new one since, which is not to handle it again.
                found = self._connection.client.update_result(self._recorded, self.id, self.name, limit)
            else:
                found = self._ask(wait=True, timeout=limit)
        except TimeoutError:
            text = f"update '{self.name}' of run {self.run} was not handled within {limit:g} s"
            raise TimeoutError(f"{text}; it stays with the run until it has a handler of that name") from None
        value: T = answer(self._connection, self.name, found)
        return value

    def _ask(self, wait: bool, timeout: float | None = None) -> UpdateResult:
        client = self._connection.client
        return client.update(self.run, self.name, self._arguments, self._keywords, self.id, wait, timeout)

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
