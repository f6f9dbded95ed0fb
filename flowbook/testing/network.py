"""Unix sockets that are not there: connections in memory between the processes of one world.

A connection keeps the order of what is written, as a stream socket does. What may happen to it is ``Weather``'s.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import anyio
from anyio.abc import ByteStream

from flowbook.testing.loop import VirtualLoop

ProtocolFactory = Callable[[], asyncio.Protocol]

_ALIVE = b'{"type":"Alive"'


class Owner(Protocol):
    """The process an end of a connection lives in. ``stalled`` is when it hears again, in unix seconds."""

    alive: bool
    stalled: float
    ends: dict[End, None]


class Weather:
    """What happens to data on its way; here: nothing. ``frames`` sees each write."""

    def latency(self) -> float:
        """Seconds on the way."""
        return 0.0

    def carry(self, end: End, data: bytes) -> list[bytes]:
        """What arrives of a write, in pieces."""
        return [data]


class End(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, network: Network, protocol: asyncio.Protocol, owner: Owner, path: str) -> None:
        super().__init__()
        self.network = network
        self.protocol = protocol
        self.owner = owner
        self.path = path
        self.context = contextvars.copy_context()
        self.peer: End
        self.open = True
        self._lost = False
        self._clear_at = 0.0
        owner.ends[self] = None

    def write(self, data: Any) -> None:
        if not self.open or not self.owner.alive:
            return
        data = bytes(data)
        passing = data.startswith(_ALIVE, 4) and len(data) < 48
        for piece in [data] if passing else self.network.weather.carry(self, data):
            self._send(self.peer._arrive, piece, passing=passing)

    def close(self) -> None:
        """What was written still arrives."""
        if self.open:
            self.open = False
            self._send(self.peer.lose)
            self.network.loop.call_soon(self.lose, context=self.context)

    def abort(self) -> None:
        self.close()

    def sever(self) -> None:
        """The connection breaks: what is under way is lost, both ends hear of it some time."""
        for end in (self, self.peer):
            end.open = False
            end.network.loop.call_at(
                end.network.loop.now + end.network.weather.latency(), end.lose, context=end.context
            )

    def is_closing(self) -> bool:
        return not self.open

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def pause_reading(self) -> None:
        return None

    def resume_reading(self) -> None:
        return None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def _send(self, callback: Callable[..., None], *args: Any, passing: bool = False) -> None:
        loop = self.network.loop
        at = max(loop.now + self.network.weather.latency(), self._clear_at, self.owner.stalled, self.peer.owner.stalled)
        self._clear_at = at
        if at <= loop.now:
            loop.call_soon(callback, *args, context=self.peer.context)
        elif passing:
            loop.call_in_passing(at, callback, *args, context=self.peer.context)
        else:
            loop.call_at(at, callback, *args, context=self.peer.context)

    def _arrive(self, data: bytes) -> None:
        if self.open and self.owner.alive:
            self.protocol.data_received(data)

    def lose(self) -> None:
        """The protocol hears, once, that the connection has ended."""
        self.open = False
        self.owner.ends.pop(self, None)
        if not self._lost and self.owner.alive:
            self._lost = True
            self.protocol.connection_lost(None)


class Listener:
    """What ``create_unix_server`` gives."""

    def __init__(self, network: Network, path: str, factory: ProtocolFactory, owner: Owner) -> None:
        self.network = network
        self.path = path
        self.factory = factory
        self.owner = owner
        self.context = contextvars.copy_context()

    def close(self) -> None:
        """Listen no more."""
        if self.network.listeners.get(self.path) is self:
            del self.network.listeners[self.path]
            Path(self.path).unlink(missing_ok=True)


class Network:
    """All connections of a world."""

    def __init__(self, loop: VirtualLoop, weather: Weather, here: Callable[[], Owner]) -> None:
        self.loop = loop
        self.weather = weather
        self.here = here
        self.listeners: dict[str, Listener] = {}

    def listen(self, factory: ProtocolFactory, path: str) -> Listener:
        """Accept connections at ``path``."""
        Path(path).touch()
        self.listeners[path] = listener = Listener(self, path, factory, self.here())
        return listener

    def connect(self, factory: ProtocolFactory, path: str) -> tuple[End, asyncio.Protocol]:
        """A connection to who listens at ``path``. Raises ``ConnectionRefusedError``."""
        listener = self.listeners.get(path)
        if listener is None or not listener.owner.alive:
            raise ConnectionRefusedError(path)
        near = End(self, factory(), self.here(), path)
        far = listener.context.run(self._accept, listener)
        near.peer, far.peer = far, near
        near.protocol.connection_made(near)
        self.loop.call_soon(far.protocol.connection_made, far, context=far.context)
        return near, near.protocol

    def _accept(self, listener: Listener) -> End:
        return End(self, listener.factory(), listener.owner, listener.path)

    async def stream(self, path: str) -> ByteStream:
        """A connection as anyio gives it."""
        stream = _Stream()
        self.connect(lambda: stream.protocol, path)
        return stream


class _Reader(asyncio.Protocol):
    def __init__(self) -> None:
        self.end: End
        self.received = bytearray()
        self.lost = False
        self.changed = anyio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, End)
        self.end = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.changed.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self.changed.set()


class _Stream(ByteStream):
    """An anyio stream over an end of a connection."""

    def __init__(self) -> None:
        self.protocol = _Reader()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        reader = self.protocol
        while not reader.received:
            if reader.lost:
                raise anyio.EndOfStream
            reader.changed = anyio.Event()
            await reader.changed.wait()
        data = bytes(reader.received)
        reader.received.clear()
        return data

    async def send(self, item: bytes) -> None:
        if self.protocol.lost or not self.protocol.end.open:
            raise anyio.BrokenResourceError
        self.protocol.end.write(item)

    async def send_eof(self) -> None:
        self.protocol.end.close()

    async def aclose(self) -> None:
        self.protocol.end.close()
