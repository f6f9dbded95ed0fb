"""The engine's end of one connection: what is to be sent is collected and leaves in one write."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

import anyio
import msgspec

from flowbook.core.events import Place
from flowbook.core.ids import Key, RunId, WorkerId
from flowbook.errors import FlowbookError, ProtocolError, UserError
from flowbook.wire.protocol import (
    Goodbye,
    Incoming,
    Packet,
    Reply,
    Unpacker,
    Unreadable,
    Update,
    WorkerHello,
    pack,
    pieces,
    read_incoming,
)

log = logging.getLogger("flowbook.engine.links")

_encode = msgspec.json.Encoder().encode


def framed(*parts: bytes) -> bytes:
    """A frame around a body made of encoded parts."""
    body = b"".join(parts)
    return len(body).to_bytes(4, "big") + body


class Link(asyncio.Protocol):
    """One connection. ``closed`` is set when it has ended.

    It is an asyncio protocol and not an anyio stream: a transport keeps its reader registered and writes at once,
    which takes a third off the time of a sequential step.
    """

    def __init__(self, accept: Callable[[Link], None]) -> None:
        self._accept = accept
        self._unpacker = Unpacker()
        self._frames: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._early: list[Incoming | Unreadable] = []
        self._receive: Callable[[list[Incoming | Unreadable]], None] = self._early.extend
        self.closed = anyio.Event()

    def attach(self, receive: Callable[[list[Incoming | Unreadable]], None]) -> None:
        """Give what arrives together to ``receive``, beginning with what has arrived."""
        self._receive = receive
        if self._early:
            receive(self._early)
            self._early = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of the protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._accept(self)

    def data_received(self, data: bytes) -> None:
        """Part of the protocol."""
        try:
            self._receive([read_incoming(body) for body in self._unpacker.feed(data)])
        except (ProtocolError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("a connection was closed: %s", error)
            self.farewell(str(error))

    def connection_lost(self, error: Exception | None) -> None:
        """Part of the protocol."""
        self._transport = None
        self.closed.set()

    @property
    def waiting(self) -> int:
        """Bytes not yet taken by the other side: a slow reader's measure."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def send(self, frame: bytes) -> None:
        """Put a frame in the queue; what was queued in one turn leaves in one write."""
        if not self._frames:
            self._loop.call_soon(self.flush)
        self._frames.append(frame)

    def say(self, packet: Packet) -> None:
        """Put a packet in the queue."""
        self.send(pack(packet))

    def flush(self) -> None:
        """Write what is queued."""
        if self._frames:
            frames, self._frames = self._frames, []
            if self._transport is not None and not self._transport.is_closing():
                self._transport.write(b"".join(frames))

    def farewell(self, reason: str) -> None:
        """Say goodbye and hang up once all is sent."""
        self.say(Goodbye(reason))
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connection once all is sent."""
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """Close the connection now."""
        if self._transport is not None:
            self._transport.abort()


class ClientLink:
    """A client: answers to its requests, and its subscriptions."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def answer(self, request: int, result: Any) -> None:
        """Reply to a request."""
        self._say(request, Reply(request, msgspec.Raw(_encode(result))))

    def answer_raw(self, request: int, result: bytes) -> None:
        """Reply with what is encoded already."""
        self._say(request, Reply(request, msgspec.Raw(result)))

    def refuse(self, request: int, error: FlowbookError) -> None:
        """Reply with an error."""
        self.link.say(Reply(request, error={"type": type(error).__name__, "message": str(error)}))

    def update(self, request: int, body: Any, last: bool = False) -> None:
        """One message of a subscription."""
        self._say(request, Update(request, msgspec.Raw(_encode(body)), last))

    def _say(self, request: int, packet: Reply | Update) -> None:
        try:
            self.link.say(packet)
        except ValueError as error:
            self.refuse(request, UserError(f"the answer is too large: {error}; ask for less"))


class WorkerLink:
    """A worker process that serves one place. ``runs`` are those it holds, ``tasks`` the steps of queues.

    ``silent`` is for how many seconds it has said nothing; ``draining``: it takes nothing new; ``verdict`` says why it
    was ended, where it was; ``is_seen``: its process is known to be there.
    """

    def __init__(self, link: Link, hello: WorkerHello) -> None:
        self.link = link
        self.worker: WorkerId = hello.worker
        self.pid: int = hello.pid
        self.place: Place = hello.place
        self.queues: tuple[str, ...] = hello.queues
        self.concurrency: int = hello.concurrency
        self.runs: set[RunId] = set()
        self.tasks: set[tuple[RunId, Key]] = set()
        self.draining = self.is_seen = False
        self.verdict = ""
        self.silent = 0.0
        self.busy = 0

    def activate(
        self, run: RunId, lease: str, module: str, history: Iterable[bytes], reuse: Iterable[bytes], now: float
    ) -> None:
        """Send ``Activate`` from encoded events."""
        events, reusable = self._send_earlier(history, reuse)
        self.link.send(
            framed(
                b'{"type":"Activate","run":%s,"lease":%s,"module":%s,"history":['
                % (_encode(run), _encode(lease), _encode(module)),
                events,
                b'],"reuse":[',
                reusable,
                b'],"now":%s}' % _encode(now),
            )
        )

    def commit(self, run: RunId, events: Iterable[bytes], reports: int = 0, lease: str = "") -> None:
        """Send ``Commit`` from encoded events."""
        *earlier, last = pieces(events, len)
        for piece in earlier:
            self.link.send(framed(b'{"type":"Commit","run":%s,"events":[' % _encode(run), b",".join(piece), b"]}"))
        self.link.send(
            framed(
                b'{"type":"Commit","run":%s,"events":[' % _encode(run),
                b",".join(last),
                b'],"reports":%d,"lease":%s}' % (reports, _encode(lease)),
            )
        )

    def inspect(
        self, request: int, module: str, history: Iterable[bytes], reuse: Iterable[bytes] = (), **asked: Any
    ) -> None:
        """Send ``Inspect`` from encoded events; ``asked`` are its other fields."""
        events, reusable = self._send_earlier(history, reuse)
        more = b"".join(b",%s:%s" % (_encode(name), _encode(value)) for name, value in asked.items())
        self.link.send(
            framed(
                b'{"type":"Inspect","request":%d,"module":%s,"history":[' % (request, _encode(module)),
                events,
                b'],"reuse":[',
                reusable,
                b"]",
                more,
                b"}",
            )
        )

    def _send_earlier(self, history: Iterable[bytes], reuse: Iterable[bytes]) -> tuple[bytes, bytes]:
        """Send what does not fit into one frame ahead of it; the rest of both, joined."""
        *earlier, last = pieces(history, len)
        *reusable_earlier, reusable = pieces(reuse, len)
        for name, ahead in ((b"history", earlier), (b"reuse", reusable_earlier)):
            for piece in ahead:
                self.link.send(framed(b'{"type":"Earlier","%s":[' % name, b",".join(piece), b"]}"))
        return b",".join(last), b",".join(reusable)

    def module(self, body: bytes) -> None:
        """Send ``ModuleSource`` from an encoded module."""
        self.link.send(framed(b'{"type":"ModuleSource","module":', body, b"}"))
