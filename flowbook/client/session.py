"""One client's conversation, without IO: numbers for requests, answers to the right place, what to send again."""

from __future__ import annotations

import itertools
from typing import Any, Protocol

import msgspec

from flowbook.client.asks import Ask, error_of
from flowbook.errors import EngineUnavailable, FlowbookError
from flowbook.wire.protocol import (
    ClientHello,
    Goodbye,
    Reply,
    Request,
    ToClient,
    Unpacker,
    Update,
    pack,
    to_client_decoder,
)

_SILENT_CONNECTIONS = 5

_encode = msgspec.json.Encoder().encode


class Sink(Protocol):
    """Where what comes back for one request goes. Called by whoever reads the socket."""

    def resolve(self, result: msgspec.Raw) -> None:
        """The answer."""

    def fail(self, error: FlowbookError) -> None:
        """The error, and nothing after it."""

    def update(self, body: msgspec.Raw, last: bool) -> None:
        """One message of a subscription."""


class Session:
    """Requests under way. Not safe for threads by itself."""

    def __init__(self) -> None:
        self._stopped = ""
        self._silent = 0
        self._numbers = itertools.count(1)
        self._unpacker = Unpacker()
        self._waiting: dict[int, tuple[bytes, Sink, bool]] = {}
        self._watching: dict[int, tuple[bytes, Sink]] = {}

    def request(self, ask: Ask[Any], sink: Sink) -> tuple[int, bytes]:
        """Number a request and remember where its answer goes; the frame is the caller's to send."""
        number = next(self._numbers)
        frame = pack(Request(number, ask.method, msgspec.Raw(_encode(ask.params))))
        if ask.method == "watch":
            self._watching[number] = (frame, sink)
        else:
            self._waiting[number] = (frame, sink, ask.repeatable)
        return number, frame

    def forget(self, number: int) -> bytes:
        """Stop listening to a request; the frame that tells the engine, or nothing when it is over anyway."""
        if self._waiting.pop(number, None) is not None:
            return pack(Request(next(self._numbers), "forget", msgspec.Raw(b'{"request":%d}' % number)))
        if self._watching.pop(number, None) is not None:
            return pack(Request(next(self._numbers), "unwatch", msgspec.Raw(b'{"watch":%d}' % number)))
        return b""

    def opening(self, token: str) -> bytes:
        """What to send on a new connection: who this is, and what was not answered on the old one."""
        self._stopped = ""
        self._silent += 1
        self._unpacker = Unpacker()
        frames = [pack(ClientHello(token))]
        for number, (frame, sink, repeatable) in list(self._waiting.items()):
            if repeatable:
                frames.append(frame)
            else:
                del self._waiting[number]
                sink.fail(EngineUnavailable("the connection to the engine was lost before it answered."))
        frames.extend(frame for frame, _ in self._watching.values())
        return b"".join(frames)

    def receive(self, data: bytes) -> None:
        """Deliver what arrived."""
        self._silent = 0
        for body in self._unpacker.feed(data):
            self._deliver(to_client_decoder.decode(body))

    def _deliver(self, packet: ToClient) -> None:
        match packet:
            case Reply():
                self._answer(packet)
            case Update():
                watching = self._watching.get(packet.id)
                if watching is not None:
                    if packet.last:
                        del self._watching[packet.id]
                    watching[1].update(packet.body, packet.last)
            case Goodbye():
                self._stopped = packet.reason or "it was stopped"

    def _answer(self, reply: Reply) -> None:
        waiting = self._waiting.pop(reply.id, None)
        sink = waiting[1] if waiting else None
        if sink is None and reply.error is not None:
            watching = self._watching.pop(reply.id, None)
            sink = watching[1] if watching else None
        if sink is None:
            return
        if reply.error is not None:
            sink.fail(error_of(reply.error))
        else:
            sink.resolve(reply.result)

    def refusal(self) -> EngineUnavailable | None:
        """Why connecting again makes no sense, if so: the engine left on purpose, or hangs up without a word."""
        if self._stopped:
            return EngineUnavailable(f"the engine has stopped ({self._stopped}).")
        if self._silent >= _SILENT_CONNECTIONS:
            return EngineUnavailable("the engine closes every connection without an answer; its log may say why.")
        return None

    @property
    def busy(self) -> bool:
        """True while somebody waits for something."""
        return bool(self._waiting or self._watching)

    def fail(self, error: FlowbookError) -> None:
        """Tell everybody who waits that nothing more will come."""
        sinks = [sink for _, sink, _ in self._waiting.values()] + [sink for _, sink in self._watching.values()]
        self._waiting.clear()
        self._watching.clear()
        for sink in sinks:
            sink.fail(error)
