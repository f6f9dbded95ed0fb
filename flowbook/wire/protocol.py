"""The messages on the engine's socket, from workers and from clients, and their framing.

A frame is a 4-byte big-endian length and that many bytes of JSON. The first frame of every connection is
a ``WorkerHello`` or ``ClientHello`` carrying the token; anything else, or a wrong token, closes it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from flowbook.core.events import Place, Recorded
from flowbook.core.failure import Frame
from flowbook.core.ids import Digest, RunId, Seq, WorkerId
from flowbook.core.messages import ReportItem
from flowbook.core.module import Module
from flowbook.core.value import Value
from flowbook.errors import ProtocolError

VERSION = 1
MAXIMUM_FRAME = 256 * 1024 * 1024


class Packet(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Base of everything that travels."""


# Worker to engine


class WorkerHello(Packet, frozen=True, tag=True):
    """A worker offers itself. ``holding`` maps the runs it still has in memory to the last event it has

    applied; the engine answers each with ``Commit`` (go on) or ``Evict`` (somebody else has it).
    """

    token: str
    worker: WorkerId
    pid: int
    place: Place
    queues: tuple[str, ...] = ("default",)
    holding: dict[RunId, Seq] = {}
    version: int = VERSION


class RunReport(Packet, frozen=True, tag=True):
    """What happened in one run. ``lease`` is the one from ``Activate``: an old lease decides nothing.

    ``number`` counts the reports of a lease from 1: one that was seen before decides nothing.
    """

    run: RunId
    lease: str
    number: int
    items: tuple[ReportItem, ...]


class Released(Packet, frozen=True, tag=True):
    """The worker dropped an idle run from memory, having applied its events up to ``seq``."""

    run: RunId
    lease: str
    seq: Seq


class NeedModule(Packet, frozen=True, tag=True):
    """The worker asks for a module by digest."""

    digest: Digest


class Inspection(Packet, frozen=True, tag=True):
    """Answer to ``Inspect``: the stack, innermost task first, and named values at that event.

    ``error`` is set instead when the code could not be re-executed.
    """

    request: int
    stack: tuple[Frame, ...] = ()
    values: dict[str, Value] = {}
    error: str = ""


class Alive(Packet, frozen=True, tag=True):
    """Sent every second by a worker whose loop is alive; ``busy`` is the number of running steps."""

    busy: int = 0


FromWorker = WorkerHello | RunReport | Released | NeedModule | Inspection | Alive


# Engine to worker


class Activate(Packet, frozen=True, tag=True):
    """Take this run: its whole history. ``reuse`` is the part of another run's history a fork may take from."""

    run: RunId
    lease: str
    module: Digest
    history: tuple[Recorded, ...]
    reuse: tuple[Recorded, ...] = ()


class Commit(Packet, frozen=True, tag=True):
    """Durable events of a run the worker holds, in their final order. Apply them one at a time.

    ``reports`` is the number of the last report they answer. ``lease`` renews the worker's claim.
    """

    run: RunId
    events: tuple[Recorded, ...]
    reports: int = 0
    lease: str = ""


class Evict(Packet, frozen=True, tag=True):
    """Drop the run and stop its steps; nothing more is to be said about it."""

    run: RunId


class ModuleSource(Packet, frozen=True, tag=True):
    """Answer to ``NeedModule``."""

    module: Module


class Inspect(Packet, frozen=True, tag=True):
    """Re-execute this history in view mode (no step runs, nothing is reported) and show frames and values."""

    request: int
    module: Digest
    history: tuple[Recorded, ...]
    reuse: tuple[Recorded, ...] = ()


class Goodbye(Packet, frozen=True, tag=True):
    """The engine stops on purpose: end the running steps and leave. Or a refusal, with ``reason``."""

    reason: str = ""


ToWorker = Activate | Commit | Evict | ModuleSource | Inspect | Goodbye


# Client to engine and back


class ClientHello(Packet, frozen=True, tag=True):
    """A client introduces itself."""

    token: str
    version: int = VERSION


class Request(Packet, frozen=True, tag=True):
    """A call; ``id`` is the client's. Methods and their parameters are in ``wire.calls``."""

    id: int
    method: str
    params: msgspec.Raw = msgspec.Raw(b"{}")


class Reply(Packet, frozen=True, tag=True):
    """The answer to ``Request``; ``error`` is ``{"type", "message"}`` with a class name of ``errors``."""

    id: int
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: dict[str, str] | None = None


class Update(Packet, frozen=True, tag=True):
    """One message of a subscription (``watch``); ``id`` is that of the request. ``last`` ends it."""

    id: int
    body: msgspec.Raw
    last: bool = False


FromClient = ClientHello | Request
ToClient = Reply | Update | Goodbye

Incoming = FromWorker | FromClient
"""All that can arrive at the engine."""

_length = struct.Struct(">I")
_encoder = msgspec.json.Encoder()
incoming_decoder = msgspec.json.Decoder(Incoming)
to_worker_decoder = msgspec.json.Decoder(ToWorker)
to_client_decoder = msgspec.json.Decoder(ToClient)


def pack(message: Packet) -> bytes:
    """One framed message."""
    body = _encoder.encode(message)
    return _length.pack(len(body)) + body


class Unpacker:
    """Cuts a byte stream into frame bodies."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add received bytes; yield each complete body."""
        self._buffer += data
        buffer, start = self._buffer, 0
        try:
            while len(buffer) - start >= 4:
                (length,) = _length.unpack_from(buffer, start)
                if length > MAXIMUM_FRAME:
                    raise ProtocolError(f"a frame of {length} bytes is over the limit of {MAXIMUM_FRAME}")
                if len(buffer) - start - 4 < length:
                    break
                yield bytes(buffer[start + 4 : start + 4 + length])
                start += 4 + length
        finally:
            if start:
                del buffer[:start]
