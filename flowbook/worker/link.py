"""The worker's end of the socket: bytes to packets as they arrive, packets to bytes once a turn of the loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from flowbook.wire.protocol import ToWorker, Unpacker, to_worker_decoder


class Link(asyncio.Protocol):
    """One connection. ``receive`` is given each packet; ``outgoing`` gives the frames there are to send.

    A protocol and not a stream: at twenty thousand steps a second a task switch for each packet is what costs.
    """

    def __init__(self, receive: Callable[[ToWorker], None], outgoing: Callable[[], list[bytes]]) -> None:
        self.closed = asyncio.Event()
        self._receive = receive
        self._outgoing = outgoing
        self._unpacker = Unpacker()
        self._transport: asyncio.Transport | None = None
        self._scheduled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for body in self._unpacker.feed(data):
            self._receive(to_worker_decoder.decode(body))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.closed.set()

    def flush(self) -> None:
        """Send what there is once this turn's callbacks have run, so that what they add travels along."""
        if not self._scheduled and self._transport is not None:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def send(self) -> None:
        """Send what there is now."""
        if self._transport is not None:
            frames = self._outgoing()
            if frames:
                self._transport.write(b"".join(frames))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def let_go(self) -> None:
        """In a forked process: no longer keep the connection open, which ends with the worker."""
        held = -1 if self._transport is None else self._transport.get_extra_info("socket").fileno()
        if held >= 0:
            # Something has to be there: who closes it one day would close what came in its place.
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, held, inheritable=False)
            os.close(nothing)

    def _flush(self) -> None:
        self._scheduled = False
        self.send()
