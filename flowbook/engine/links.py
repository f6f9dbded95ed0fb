"""The engine's end of one connection: what is to be sent is collected and leaves in one write."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import anyio
import anyio.abc
import msgspec

from flowbook.core.events import Place
from flowbook.core.ids import RunId, WorkerId
from flowbook.errors import FlowbookError
from flowbook.wire.protocol import Goodbye, Packet, Reply, Update, WorkerHello, pack

_encode = msgspec.json.Encoder().encode


def framed(*parts: bytes) -> bytes:
    """A frame around a body made of encoded parts."""
    body = b"".join(parts)
    return len(body).to_bytes(4, "big") + body


class Link:
    """One connection. ``waiting`` is the number of bytes not yet sent: a slow reader's measure."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream
        self._frames: list[bytes] = []
        self._wake = anyio.Event()
        self.waiting = 0
        self.closed = False

    def send(self, frame: bytes) -> None:
        """Put a frame in the queue."""
        if not self.closed:
            self._frames.append(frame)
            self.waiting += len(frame)
            self._wake.set()

    def say(self, packet: Packet) -> None:
        """Put a packet in the queue."""
        self.send(pack(packet))

    async def write(self) -> None:
        """Send what is queued, for as long as the connection lives."""
        while not self.closed:
            await self._wake.wait()
            self._wake = anyio.Event()
            frames, self._frames = self._frames, []
            data = b"".join(frames)
            try:
                await self._stream.send(data)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                return
            self.waiting -= len(data)

    async def farewell(self, reason: str) -> None:
        """Say goodbye, send what is left, and hang up."""
        self.say(Goodbye(reason))
        with anyio.move_on_after(1.0, shield=True):
            while self.waiting and not self.closed:
                await anyio.sleep(0.002)
        await self.hang_up()

    async def hang_up(self) -> None:
        """Close the connection."""
        self.closed = True
        self._wake.set()
        with anyio.CancelScope(shield=True):
            await self._stream.aclose()


class ClientLink:
    """A client: answers to its requests, and its subscriptions."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def answer(self, request: int, result: Any) -> None:
        """Reply to a request."""
        self.link.say(Reply(request, msgspec.Raw(_encode(result))))

    def answer_raw(self, request: int, result: bytes) -> None:
        """Reply with what is encoded already."""
        self.link.say(Reply(request, msgspec.Raw(result)))

    def refuse(self, request: int, error: FlowbookError) -> None:
        """Reply with an error."""
        self.link.say(Reply(request, error={"type": type(error).__name__, "message": str(error)}))

    def update(self, request: int, body: Any, last: bool = False) -> None:
        """One message of a subscription."""
        self.link.say(Update(request, msgspec.Raw(_encode(body)), last))


class WorkerLink:
    """A worker process that serves one place. ``runs`` are those it holds."""

    def __init__(self, link: Link, hello: WorkerHello) -> None:
        self.link = link
        self.worker: WorkerId = hello.worker
        self.pid: int = hello.pid
        self.place: Place = hello.place
        self.runs: set[RunId] = set()
        self.busy = 0

    def activate(
        self, run: RunId, lease: str, module: str, history: Iterable[bytes], reuse: Iterable[bytes] = ()
    ) -> None:
        """Send ``Activate`` from encoded events."""
        self.link.send(
            framed(
                b'{"type":"Activate","run":%s,"lease":%s,"module":%s,"history":['
                % (_encode(run), _encode(lease), _encode(module)),
                b",".join(history),
                b'],"reuse":[',
                b",".join(reuse),
                b"]}",
            )
        )

    def commit(self, run: RunId, events: Iterable[bytes], reports: int = 0, lease: str = "") -> None:
        """Send ``Commit`` from encoded events."""
        self.link.send(
            framed(
                b'{"type":"Commit","run":%s,"events":[' % _encode(run),
                b",".join(events),
                b'],"reports":%d,"lease":%s}' % (reports, _encode(lease)),
            )
        )

    def inspect(self, request: int, module: str, history: Iterable[bytes], reuse: Iterable[bytes] = ()) -> None:
        """Send ``Inspect`` from encoded events."""
        self.link.send(
            framed(
                b'{"type":"Inspect","request":%d,"module":%s,"history":[' % (request, _encode(module)),
                b",".join(history),
                b'],"reuse":[',
                b",".join(reuse),
                b"]}",
            )
        )

    def module(self, body: bytes) -> None:
        """Send ``ModuleSource`` from an encoded module."""
        self.link.send(framed(b'{"type":"ModuleSource","module":', body, b"}"))
