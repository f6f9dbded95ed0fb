"""The messages on the engine's socket, from workers and from clients, and their framing.

A frame is a 4-byte big-endian length and that many bytes of JSON. The first frame of every connection is
a ``WorkerHello`` or ``ClientHello`` carrying the token; anything else, or a wrong token, closes it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from flowbook.core.events import Place, Recorded, StepHeartbeat, StepProgress, StepScheduled
from flowbook.core.failure import Frame
from flowbook.core.ids import Digest, Key, RunId, Seq, WorkerId
from flowbook.core.messages import ReportItem
from flowbook.core.module import Module
from flowbook.core.value import Value
from flowbook.errors import ProtocolError

T = TypeVar("T")

VERSION = 1
MAXIMUM_FRAME = 256 * 1024 * 1024

PIECE = 32 * 1024 * 1024
"""Bytes of encoded events, or of items of a report, in one frame, about: where there are more, they come in several."""

ROOM = 1024 * 1024
"""Bytes of a frame that a report does not use: its items come back in frames that have more around them."""


class Packet(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Base of everything that travels."""


class TaskRef(Packet, frozen=True, tag=True):
    """One attempt of a step of a queue."""

    run: RunId
    key: Key
    attempt: int
    queue: str = ""


# Worker to engine


class WorkerHello(Packet, frozen=True, tag=True):
    """A worker offers itself.

    ``holding`` maps the runs it still has in memory to the last event it has applied; the engine answers each with
    ``Commit`` (go on) or ``Evict`` (somebody else has it). ``tasks`` are the attempts it has in hand; it takes at most
    ``concurrency`` tasks at once.
    """

    token: str
    worker: WorkerId
    pid: int
    place: Place
    queues: tuple[str, ...] = ("default",)
    holding: dict[RunId, Seq] = {}
    tasks: tuple[TaskRef, ...] = ()
    concurrency: int = 100
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
    """The worker dropped an idle run from memory, having applied its events up to ``seq``.

    ``unfinished``: it was not idle, another worker is to take it up.
    """

    run: RunId
    lease: str
    seq: Seq
    unfinished: bool = False


class TaskReport(Packet, frozen=True, tag=True):
    """What happened in an attempt of a step of a queue, numbered from 1. ``ended``: it holds the task no longer."""

    task: TaskRef
    number: int
    items: tuple[ReportItem, ...] = ()
    ended: bool = False


class Glimpse(Packet, frozen=True, tag=True):
    """What running attempts say meanwhile, for those who watch. It is not recorded, and nobody misses what is lost."""

    run: RunId
    items: tuple[StepProgress | StepHeartbeat, ...]


class Draining(Packet, frozen=True, tag=True):
    """The worker takes nothing new and leaves when it has nothing left."""


class NeedModule(Packet, frozen=True, tag=True):
    """The worker asks for a module by digest."""

    digest: Digest


class Inspection(Packet, frozen=True, tag=True):
    """Answer to ``Inspect``: the stack, innermost task first, and named values at that event; or a query's ``value``.

    ``error`` is set instead when the code could not be re-executed, with the ``difference`` where it did something
    else than the history says; or when the query could not be answered, which is ``refused``. Of code that fits,
    ``names`` are its keys for commands that the history knows by others, and ``timers`` the lines whose waiting timers
    keep the time they were set for.
    """

    request: int
    stack: tuple[Frame, ...] = ()
    values: dict[str, Value] = {}
    value: Value | None = None
    error: str = ""
    difference: dict[str, Any] = {}
    refused: bool = False
    names: dict[Key, Key] = {}
    timers: tuple[int, ...] = ()


class Alive(Packet, frozen=True, tag=True):
    """Sent every second by a worker whose loop is alive; ``busy`` is the number of running steps."""

    busy: int = 0


FromWorker = WorkerHello | RunReport | Released | TaskReport | Glimpse | Draining | NeedModule | Inspection | Alive


# Engine to worker


class Earlier(Packet, frozen=True, tag=True):
    """The first events of the ``Activate`` or ``Inspect`` that comes next; there may be several of these."""

    history: tuple[Recorded, ...] = ()
    reuse: tuple[Recorded, ...] = ()


class Activate(Packet, frozen=True, tag=True):
    """Take this run: its whole history. ``reuse`` is the part of another run's history a fork may take from.

    ``now`` is the engine's time, which the times in the history are of.
    """

    run: RunId
    lease: str
    module: Digest
    history: tuple[Recorded, ...]
    reuse: tuple[Recorded, ...] = ()
    now: float = 0.0


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


class Task(Packet, frozen=True, tag=True):
    """Run this attempt of a step of a queue; that it began is recorded already. ``seed`` is the run's.

    ``details`` are what the attempt before left with its last heartbeat; ``unwanted``: nobody needs its result;
    ``original`` as in ``RunStarted``. Sent again for one it has in hand, it means nothing new.
    """

    task: TaskRef
    module: Digest
    workflow: str
    step: StepScheduled
    details: Value | None = None
    seed: str = ""
    unwanted: bool = False
    original: RunId = RunId("")


class CancelTask(Packet, frozen=True, tag=True):
    """Stop this attempt and say when it has ended; nothing else about it is wanted."""

    task: TaskRef


class StopTask(Packet, frozen=True, tag=True):
    """Nobody needs the result of this attempt: tell it so, and say how it ends."""

    task: TaskRef


class TaskReported(Packet, frozen=True, tag=True):
    """A ``TaskReport`` is durable, up to this number."""

    task: TaskRef
    number: int


class Drain(Packet, frozen=True, tag=True):
    """Take nothing new and leave when nothing is left, after ``grace`` seconds at most; by default the worker's own."""

    grace: float | None = None


class ModuleSource(Packet, frozen=True, tag=True):
    """Answer to ``NeedModule``."""

    module: Module


class Inspect(Packet, frozen=True, tag=True):
    """Re-execute this history in view mode: no step runs, nothing is reported.

    Show frames and values; or answer ``query`` with its arguments; or, for ``fit``, say whether the code does all that
    the history says.
    """

    request: int
    module: Digest
    history: tuple[Recorded, ...]
    reuse: tuple[Recorded, ...] = ()
    query: str = ""
    arguments: tuple[Value, ...] = ()
    keywords: dict[str, Value] = {}
    fit: bool = False


class Goodbye(Packet, frozen=True, tag=True):
    """The engine stops on purpose: end the running steps and leave. Or a refusal, with ``reason``."""

    reason: str = ""


ToWorker = (
    Earlier
    | Activate
    | Commit
    | Evict
    | Task
    | CancelTask
    | StopTask
    | TaskReported
    | Drain
    | ModuleSource
    | Inspect
    | Goodbye
)


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


class Unreadable(msgspec.Struct, frozen=True):
    """A worker said something about a run that means nothing. It never travels: it is what became of a report."""

    run: RunId
    reason: str


_length = struct.Struct(">I")
_encoder = msgspec.json.Encoder()
_incoming_decoder = msgspec.json.Decoder(Incoming)
to_worker_decoder = msgspec.json.Decoder(ToWorker)
to_client_decoder = msgspec.json.Decoder(ToClient)


def pack(message: Packet, room: int = 0) -> bytes:
    """One framed message. Raises ValueError where it takes more than a frame, less ``room``."""
    body = _encoder.encode(message)
    if len(body) > MAXIMUM_FRAME - room:
        raise ValueError(
            f"it takes {len(body):,} bytes, more than the {MAXIMUM_FRAME - room:,} that can be sent at once"
        )
    return _length.pack(len(body)) + body


def pieces(items: Iterable[T], weigh: Callable[[T], int]) -> list[list[T]]:
    """The items in order, cut so that each part fits into a frame. There is at least one, which may be empty."""
    parts: list[list[T]] = [[]]
    room = PIECE
    for item in items:
        taken = weigh(item)
        if taken > room and parts[-1]:
            parts.append([])
            room = PIECE
        parts[-1].append(item)
        room -= taken
    return parts


def size(item: ReportItem) -> int:
    """Bytes that it takes in a frame. Raises what ``pack`` raises."""
    return len(_encoder.encode(item))


def read_incoming(body: bytes) -> Incoming | Unreadable:
    """What a frame's body says. One that is about a run harms no other: it gives ``Unreadable``.

    Raises ``msgspec.DecodeError`` for anything else that is no packet.
    """
    try:
        packet: Incoming = _incoming_decoder.decode(body)
        return packet
    except msgspec.ValidationError as error:
        about = _about(body)
        if about is None:
            raise
        return Unreadable(about, str(error))


def _about(body: bytes) -> RunId | None:
    """The run that a damaged report is about."""
    said = msgspec.json.decode(body)
    if not isinstance(said, dict):
        return None
    run = said.get("task", {}).get("run") if said.get("type") == "TaskReport" else said.get("run")
    is_report = said.get("type") in ("RunReport", "TaskReport")
    return RunId(run) if is_report and isinstance(run, str) else None


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
