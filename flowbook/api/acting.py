"""What can be said to a run and asked of it: signals, updates, queries, and that it is to stop or to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, overload

from flowbook.api.connection import Connection, new_mark
from flowbook.core import options
from flowbook.runtime.handlers import Query, Update, named

if TYPE_CHECKING:
    from flowbook.api.updates import SentUpdate
    from flowbook.client import Client

P = ParamSpec("P")
T = TypeVar("T")


class Acting:
    """See ``Run``."""

    id: str
    _client: Client

    @property
    def _own(self) -> Connection:
        """The connection for the run's values."""
        raise NotImplementedError

    def signal(self, name: str, value: Any = None, id: str = "") -> Self:
        """Send a signal; it is recorded when this returns. ``id`` makes sending it twice harmless."""
        options.name("a signal's name", name)
        self._client.signal(self.id, name, self._own.encode(value, name), options.text("the id of a signal", id))
        return self

    def cancel(self, reason: str = "") -> str:
        """Ask the run to stop, undoing what it has to; gives "cancelled", "queued" or "already done".

        Asking again while it cleans up changes nothing; code that has caught the cancellation and gone on hears it
        anew.
        """
        return self._client.cancel(self.id, options.text("the reason", reason))["outcome"]

    def terminate(self, reason: str = "", *, now: bool = False) -> str:
        """End the run without asking its code; gives "terminated", "queued" or "already done".

        What it owes outside is taken back first ("queued"); with ``now`` it is left as it is, to be seen.
        """
        return self._client.terminate(self.id, options.text("the reason", reason), bool(now))["outcome"]

    def resume(self) -> Self:
        """End a pause."""
        self._client.resume(self.id)
        return self

    @overload
    def update(self, name: Update[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def update(self, name: Update[..., T], /, *args: Any, id: str, **more: Any) -> T: ...
    @overload
    def update(self, name: Update[..., T], /, *args: Any, timeout: float | str | None, **more: Any) -> T: ...
    @overload
    def update(
        self, name: str, /, *args: Any, id: str = "", timeout: float | str | None = None, **kwargs: Any
    ) -> Any: ...
    def update(  # type: ignore[misc]  # its own options are keywords as well
        self,
        name: str | Update[..., Any],
        /,
        *args: Any,
        id: str = "",
        timeout: float | str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Have the run's update handler do something, and wait for what it gives. ``id`` makes it happen once.

        ``name`` is the handler's, or what ``@update`` made. Arguments called ``id`` and ``timeout`` are given by place.

        Raises UpdateRejected (its validator said no, or the arguments do not fit: nothing was done), UpdateFailed,
        RunClosed, TimeoutError, or FlowbookError where the run is paused.
        """
        return self._sent(name, args, kwargs, id).result(timeout)

    @overload
    def start_update(self, name: Update[P, T], /, *args: P.args, **kwargs: P.kwargs) -> SentUpdate[T]: ...
    @overload
    def start_update(self, name: Update[..., T], /, *args: Any, id: str, **kwargs: Any) -> SentUpdate[T]: ...
    @overload
    def start_update(self, name: str, /, *args: Any, id: str = "", **kwargs: Any) -> SentUpdate[Any]: ...
    def start_update(  # type: ignore[misc]  # as above
        self, name: str | Update[..., Any], /, *args: Any, id: str = "", **kwargs: Any
    ) -> SentUpdate[Any]:
        """The same, without waiting: it is recorded when this returns; ``result()`` waits."""
        return self._sent(name, args, kwargs, id).send()

    def _sent(
        self, name: str | Update[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], id: str
    ) -> SentUpdate[Any]:
        from flowbook.api.updates import SentUpdate

        mark = options.text("the id of an update", id) or new_mark()
        return SentUpdate(self._own, self.id, mark, named("an update", name), args, kwargs)

    @overload
    def query(self, name: Query[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def query(self, name: str, /, *args: Any, **kwargs: Any) -> Any: ...
    def query(self, name: str | Query[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """What the run's query handler answers now; changes nothing, and works for a run that has ended."""
        asked = named("a query", name)
        arguments = tuple(self._own.encode(value, asked) for value in args)
        keywords = {key: self._own.encode(value, key) for key, value in kwargs.items()}
        return self._own.decode(self._client.query(self.id, asked, arguments, keywords))
