"""A worker that does what a test says, speaking the real protocol over the real socket."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any, TypeVar

import anyio
import anyio.abc

from flowbook.client import launch
from flowbook.core import events as e
from flowbook.core.ids import RunId, Seq, WorkerId
from flowbook.core.messages import ReportItem
from flowbook.wire.protocol import (
    Activate,
    Commit,
    Packet,
    Released,
    RunReport,
    Unpacker,
    WorkerHello,
    pack,
    to_worker_decoder,
)

P = TypeVar("P", bound=Packet)
PLACE = e.Place("/somewhere", sys.executable)


class ScriptedWorker:
    """Packets by type, in the order they come; reports numbered as a worker numbers them."""

    def __init__(
        self, home: Any, worker: str = "w1", holding: dict[str, int] | None = None, pid: int = 0, **hello: Any
    ) -> None:
        self.home = home
        self.worker = WorkerId(worker)
        self.holding = {RunId(run): Seq(seq) for run, seq in (holding or {}).items()}
        self.pid = pid or os.getpid()
        self.hello = hello
        self.leases: dict[str, str] = {}
        self.seqs: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._packets: list[Packet] = []
        self._unpacker = Unpacker()

    async def __aenter__(self) -> ScriptedWorker:
        address = launch.read_address(self.home)
        assert address is not None
        self.stream = await anyio.connect_unix(address.socket)
        hello = WorkerHello(
            address.token, self.worker, self.pid, **{"place": PLACE, "holding": self.holding, **self.hello}
        )
        await self.stream.send(pack(hello))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self.stream.aclose()

    async def next(self, kind: type[P], timeout: float = 5.0) -> P:
        """The next packet of this type; others stay."""
        with anyio.fail_after(timeout):
            while True:
                for packet in self._packets:
                    if isinstance(packet, kind):
                        self._packets.remove(packet)
                        return packet
                for body in self._unpacker.feed(await self.stream.receive(1 << 18)):
                    self._took(to_worker_decoder.decode(body))

    def _took(self, packet: Packet) -> None:
        self._packets.append(packet)
        if isinstance(packet, Activate):
            self.leases[packet.run] = packet.lease
            self.seqs[packet.run] = packet.history[-1].seq
            self._numbers[packet.run] = 0
        elif isinstance(packet, Commit):
            if packet.lease:
                self.leases[packet.run] = packet.lease
                self._numbers[packet.run] = 0
            if packet.events:
                self.seqs[packet.run] = packet.events[-1].seq

    async def take(self, run: str) -> Activate:
        """The run, given to this worker."""
        activate = await self.next(Activate)
        assert activate.run == run
        return activate

    async def tell(self, run: str, *items: ReportItem, number: int = 0, lease: str = "") -> None:
        """Send a report."""
        self._numbers[run] = number or self._numbers[run] + 1
        report = RunReport(RunId(run), lease or self.leases[run], self._numbers[run], items)
        await self.stream.send(pack(report))

    async def report(self, run: str, *items: ReportItem) -> list[str]:
        """Send a report; the kinds of the events that answer it."""
        await self.tell(run, *items)
        kinds: list[str] = []
        while True:
            commit = await self.next(Commit)
            assert commit.run == run
            kinds += [type(recorded.event).__name__ for recorded in commit.events]
            if commit.reports >= self._numbers[run]:
                return kinds

    async def release(self, run: str, seq: int = 0) -> None:
        """Drop an idle run."""
        await self.stream.send(pack(Released(RunId(run), self.leases[run], Seq(seq or self.seqs[run]))))
