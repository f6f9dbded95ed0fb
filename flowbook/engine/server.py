"""The socket: who connects, whether they may, and where their packets go."""

from __future__ import annotations

import hmac
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import anyio.abc
import msgspec

from flowbook.engine.answers import Answers
from flowbook.engine.engine import Engine
from flowbook.engine.fleet import Fleet
from flowbook.engine.links import ClientLink, Link, WorkerLink
from flowbook.engine.modules import Modules
from flowbook.errors import FlowbookError, ProtocolError, StoreError
from flowbook.wire.protocol import (
    VERSION,
    Alive,
    ClientHello,
    Incoming,
    Inspection,
    NeedModule,
    Released,
    Request,
    RunReport,
    Unpacker,
    WorkerHello,
    incoming_decoder,
)

log = logging.getLogger("flowbook.engine.server")

HELLO_WITHIN = 10.0
CHUNK = 1 << 18


async def listen(path: Path) -> anyio.abc.SocketListener:
    """Listen on the socket. A stale one is replaced; one where somebody answers is left alone."""
    if path.exists() or path.is_symlink():
        if not path.is_socket():
            raise StoreError(f"{path} is in the way: it is no socket. Move it away and try again.")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink()
            else:
                raise StoreError(f"another program listens on {path}. Stop it, or remove the socket, and try again.")
    try:
        return await anyio.create_unix_listener(path, mode=0o600, backlog=256)
    except OSError as error:
        raise StoreError(f"cannot listen on {path} ({error.strerror or error}).") from error


class Server:
    """Connections of one engine."""

    def __init__(self, engine: Engine, fleet: Fleet, answers: Answers, modules: Modules, token: str) -> None:
        self._engine = engine
        self._fleet = fleet
        self._answers = answers
        self._modules = modules
        self._token = token
        self.clients: set[ClientLink] = set()

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        """One connection, from its hello to its end."""
        async with AsyncExitStack() as stack:
            link = Link(stream)
            stack.push_async_callback(link.hang_up)
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(link.write)
                    await self._converse(link, stream, tasks)
                    tasks.cancel_scope.cancel()
            except* (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                pass
            except* (ProtocolError, msgspec.DecodeError) as group:
                log.warning("a connection was closed: %s", group.exceptions[0])

    async def _converse(self, link: Link, stream: anyio.abc.SocketStream, tasks: anyio.abc.TaskGroup) -> None:
        packets = _packets(stream)
        with anyio.move_on_after(HELLO_WITHIN):
            async for first in packets:
                if not first:
                    continue
                hello, rest = first[0], first[1:]
                break
            else:
                return
        refusal = self._refusal(hello)
        if refusal:
            await link.farewell(refusal)
        elif isinstance(hello, WorkerHello):
            await self._worker(WorkerLink(link, hello), hello, rest, packets, tasks)
        else:
            await self._client(ClientLink(link), rest, packets, tasks)

    def _refusal(self, hello: Incoming) -> str:
        if not isinstance(hello, (WorkerHello, ClientHello)):
            return "the first message must introduce its sender"
        if not hmac.compare_digest(hello.token.encode(), self._token.encode()):
            return "the token is wrong"
        if hello.version != VERSION:
            return f"this engine speaks version {VERSION} of the protocol, not {hello.version}; stop it and try again"
        return ""

    async def _client(
        self,
        client: ClientLink,
        first: list[Incoming],
        packets: AsyncIterator[list[Incoming]],
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        self.clients.add(client)
        try:
            for packet in first:
                self._requested(client, packet, tasks)
            async for received in packets:
                for packet in received:
                    self._requested(client, packet, tasks)
        finally:
            self.clients.discard(client)
            self._answers.publisher.unwatch(client)

    def _requested(self, client: ClientLink, packet: Incoming, tasks: anyio.abc.TaskGroup) -> None:
        if not isinstance(packet, Request):
            raise ProtocolError(f"a client sent {type(packet).__name__}")
        self._answers.request(client, packet, tasks)

    async def _worker(
        self,
        link: WorkerLink,
        hello: WorkerHello,
        first: list[Incoming],
        packets: AsyncIterator[list[Incoming]],
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        self._fleet.joined(link, hello)
        try:
            for packet in first:
                self._worked(link, packet, tasks)
            async for received in packets:
                for packet in received:
                    self._worked(link, packet, tasks)
        finally:
            # Its fate is found out by a task of the engine: this connection is over.
            self._engine.tasks.start_soon(self._fleet.left, link)

    def _worked(self, link: WorkerLink, packet: Incoming, tasks: anyio.abc.TaskGroup) -> None:
        match packet:
            case RunReport():
                self._engine.report(link, packet)
            case Released():
                self._engine.released(link, packet)
            case Alive():
                link.busy = packet.busy
            case NeedModule():
                tasks.start_soon(self._send_module, link, packet)
            case Inspection():
                self._answers.inspections.answered(packet)
            case _:
                raise ProtocolError(f"a worker sent {type(packet).__name__}")

    async def _send_module(self, link: WorkerLink, packet: NeedModule) -> None:
        try:
            link.module(await self._modules.body(packet.digest))
        except FlowbookError as error:
            self._fleet.without_module(link, packet.digest, str(error))

    async def farewell(self, reason: str) -> None:
        """Say goodbye to every client."""
        async with anyio.create_task_group() as tasks:
            for client in list(self.clients):
                tasks.start_soon(client.link.farewell, reason)


async def _packets(stream: anyio.abc.SocketStream) -> AsyncIterator[list[Incoming]]:
    """What arrives, decoded, as it arrives together."""
    unpacker = Unpacker()
    try:
        while True:
            data = await stream.receive(CHUNK)
            yield [incoming_decoder.decode(body) for body in unpacker.feed(data)]
    except anyio.EndOfStream:
        return
