"""How anyone talks to the engine: ``Client`` for threads, ``AsyncClient`` for anyio, ``launch`` to find or start it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowbook.client.asynchronous import AsyncClient
    from flowbook.client.client import Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    # A worker imports ``client.launch`` alone and should not pay for the rest.
    if name == "Client":
        from flowbook.client.client import Client

        return Client
    if name == "AsyncClient":
        from flowbook.client.asynchronous import AsyncClient

        return AsyncClient
    raise AttributeError(name)
