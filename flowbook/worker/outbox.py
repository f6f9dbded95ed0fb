"""What a worker has to say to the engine: kept until it can be sent, and turned into bytes only then."""

from __future__ import annotations

from flowbook.core.ids import RunId
from flowbook.wire import protocol
from flowbook.wire.protocol import Packet, pack
from flowbook.worker import packing
from flowbook.worker.held import MOST_ITEMS, HeldRun
from flowbook.worker.link import Link
from flowbook.worker.tasks import Tasks

BURST = 32
"""Results that are sent before the turn of the loop ends, so that the engine works beside this worker, not after it."""


class Outbox:
    """Packets in their order, then what runs and tasks report. Those keep their reports until they are answered."""

    def __init__(self, tasks: Tasks) -> None:
        self.link: Link | None = None
        self._tasks = tasks
        self._packets: list[Packet] = []
        self._speaking: dict[RunId, HeldRun] = {}
        self._spoken = 0

    def __len__(self) -> int:
        """Packets that are not sent."""
        return len(self._packets)

    def send(self, packet: Packet) -> None:
        """Say this soon."""
        self._packets.append(packet)
        if self.link is not None:
            self.link.flush()

    def speak(self, held: HeldRun) -> None:
        """The run may have something to report."""
        self._speaking[held.run] = held
        self._spoken += 1
        if self.link is not None:
            if self._spoken >= BURST:
                self.link.send()
            else:
                self.link.flush()

    def speak_of_tasks(self) -> None:
        """A task may have something to report."""
        if self.link is not None:
            self.link.flush()

    def clear(self) -> None:
        """What was to be sent meant nothing but to the engine that is gone."""
        self._packets.clear()

    def frames(self) -> list[bytes]:
        """All there is to say, as bytes."""
        self._spoken = 0
        frames = [packing.sent(packet) for packet in self._packets]
        self._packets.clear()
        speaking, self._speaking = self._speaking, {}
        for held in speaking.values():
            report = held.report()
            while report is not None:
                try:
                    frame = pack(report, protocol.ROOM)
                except packing.UNSAYABLE:
                    frame = b""
                # Most are small: what each item of a report takes is not looked at before the whole is too much.
                if frame and len(frame) <= protocol.PIECE:
                    frames.append(frame)
                else:
                    frames += packing.in_parts(held.unsayable, held.cut(report))
                report = held.report() if len(report.items) >= MOST_ITEMS else None
        frames += [packing.reported(self._tasks.unsayable, task) for task in self._tasks.outgoing()]
        return frames

    def hang_up(self) -> None:
        """End the connection, if there is one."""
        if self.link is not None:
            self.link.close()

    def let_go(self) -> None:
        """In a forked process: have no part in the connection."""
        if self.link is not None:
            self.link.let_go()
