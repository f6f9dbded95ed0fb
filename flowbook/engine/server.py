"""The socket: who connects, whether they may, and where their packets go."""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc

from flowbook.core.stepping import is_current
from flowbook.engine.answers import Answers
from flowbook.engine.engine import Engine
from flowbook.engine.fleet import Fleet
from flowbook.engine.links import ClientLink, Link, WorkerLink
from flowbook.engine.modules import Modules
from flowbook.engine.queues import Queues
from flowbook.errors import FlowbookError, ProtocolError, StoreError
from flowbook.wire.protocol import (
    VERSION,
    Alive,
    ClientHello,
    Draining,
    Glimpse,
    Incoming,
    Inspection,
    NeedModule,
    Released,
    Request,
    RunReport,
    TaskReport,
    Unreadable,
    WorkerHello,
)

HELLO_WITHIN = 10.0
FAREWELL_WITHIN = 1.0


def clear_socket(path: Path) -> None:
    """Remove a stale socket. One where somebody answers, or a file that is none, is left alone."""
    if not path.exists() and not path.is_symlink():
        return
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


class Server:
    """Connections of one engine."""

    def __init__(
        self, engine: Engine, fleet: Fleet, queues: Queues, answers: Answers, modules: Modules, token: str
    ) -> None:
        self._engine = engine
        self._fleet = fleet
        self._queues = queues
        self._answers = answers
        self._modules = modules
        self._token = token
        self._links: set[Link] = set()
        self.clients: set[ClientLink] = set()

    @asynccontextmanager
    async def listening(self, path: Path) -> AsyncIterator[None]:
        """Listen on the socket; connections still open at the end are cut."""
        clear_socket(path)
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_unix_server(lambda: Link(self._accept), path, backlog=256)
            path.chmod(0o600)
        except OSError as error:
            raise StoreError(f"cannot listen on {path} ({error.strerror or error}).") from error
        try:
            yield
        finally:
            server.close()
            for link in list(self._links):
                link.cut()

    def _accept(self, link: Link) -> None:
        self._links.add(link)
        self._engine.tasks.start_soon(self._serve, link)

    async def _serve(self, link: Link) -> None:
        """One connection, from its hello to its end."""
        try:
            async with anyio.create_task_group() as tasks:
                conversation = _Conversation(self, link, tasks)
                link.attach(conversation.receive)
                with anyio.move_on_after(HELLO_WITHIN):
                    await conversation.introduced.wait()
                if conversation.introduced.is_set():
                    await link.closed.wait()
                tasks.cancel_scope.cancel()
        finally:
            link.cut()
            self._links.discard(link)

    def introduce(self, link: Link, hello: Incoming | Unreadable) -> ClientLink | WorkerLink | None:
        """Who this is; None for one that may not stay."""
        refusal = self._refusal(hello)
        if refusal:
            link.farewell(refusal)
            return None
        if isinstance(hello, WorkerHello):
            worker = WorkerLink(link, hello)
            self._fleet.joined(worker, hello)
            self._engine.tasks.start_soon(self._await_end_of_worker, worker)
            return worker
        client = ClientLink(link)
        self.clients.add(client)
        self._engine.tasks.start_soon(self._await_end_of_client, client)
        return client

    async def _await_end_of_worker(self, worker: WorkerLink) -> None:
        await worker.link.closed.wait()
        await self._fleet.left(worker)

    async def _await_end_of_client(self, client: ClientLink) -> None:
        await client.link.closed.wait()
        self.clients.discard(client)
        self._answers.publisher.unwatch(client)

    def _refusal(self, hello: Incoming | Unreadable) -> str:
        if not isinstance(hello, (WorkerHello, ClientHello)):
            return "the first message must introduce its sender"
        if not hmac.compare_digest(hello.token.encode(), self._token.encode()):
            return "the token is wrong"
        if hello.version != VERSION:
            return f"this engine speaks version {VERSION} of the protocol, not {hello.version}; stop it and try again"
        return ""

    def requested(self, client: ClientLink, packet: Incoming | Unreadable, tasks: anyio.abc.TaskGroup) -> None:
        """A client asked for something."""
        if not isinstance(packet, Request):
            raise ProtocolError(f"a client sent {type(packet).__name__}")
        self._answers.request(client, packet, tasks)

    def worked(self, link: WorkerLink, packet: Incoming | Unreadable, tasks: anyio.abc.TaskGroup) -> None:
        """A worker sent something."""
        link.silent = 0.0
        match packet:
            case RunReport():
                self._engine.report(link, packet)
            case Released():
                self._engine.released(link, packet)
            case TaskReport():
                self._queues.tasks.report(link, packet)
            case Glimpse():
                self._glimpse(packet)
            case Draining():
                self._fleet.drain(link)
            case Alive():
                link.busy = packet.busy
            case NeedModule():
                tasks.start_soon(self._send_module, link, packet)
            case Inspection():
                self._answers.inspections.answered(packet)
            case Unreadable():
                self._engine.distrust(link, packet)
            case _:
                raise ProtocolError(f"a worker sent {type(packet).__name__}")

    def _glimpse(self, packet: Glimpse) -> None:
        run = self._engine.runs.open.get(packet.run)
        if run is not None:
            current = [item for item in packet.items if is_current(run.state, item)]
            self._answers.publisher.glimpse(run.id, current, self._engine.clock.now())

    async def _send_module(self, link: WorkerLink, packet: NeedModule) -> None:
        try:
            link.module(await self._modules.body(packet.digest))
        except FlowbookError as error:
            self._fleet.without_module(link, packet.digest, str(error))

    async def farewell(self, reason: str) -> None:
        """Say goodbye to every client."""
        for client in self.clients:
            client.link.farewell(reason)
        with anyio.move_on_after(FAREWELL_WITHIN):
            for client in list(self.clients):
                await client.link.closed.wait()


class _Conversation:
    """Packets of one connection, to where they belong."""

    def __init__(self, server: Server, link: Link, tasks: anyio.abc.TaskGroup) -> None:
        self._server = server
        self._link = link
        self._tasks = tasks
        self._who: ClientLink | WorkerLink | None = None
        self.introduced = anyio.Event()

    def receive(self, packets: list[Incoming | Unreadable]) -> None:
        """Take what arrived."""
        if not self.introduced.is_set() and packets:
            self.introduced.set()
            self._who = self._server.introduce(self._link, packets.pop(0))
        who, server = self._who, self._server
        for packet in packets:
            if isinstance(who, WorkerLink):
                server.worked(who, packet, self._tasks)
            elif who is not None:
                server.requested(who, packet, self._tasks)
