"""What is said as frames: what is large is cut, and what cannot be written down is replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from flowbook.core.messages import ReportItem
from flowbook.wire import protocol
from flowbook.wire.protocol import Inspection, Packet, RunReport, TaskReport, pack, size

UNSAYABLE = (ValueError, TypeError, msgspec.MsgspecError)
"""What ``pack`` raises for something that cannot be written down, or does not fit into a frame."""

Report = TypeVar("Report", RunReport, TaskReport)


def weight(item: ReportItem) -> int:
    """Bytes that it takes in a frame; one that cannot be written down takes a part to itself."""
    try:
        return size(item)
    except UNSAYABLE:
        return protocol.PIECE


def reported(unsayable: Callable[[Report, Exception], Report], report: Report) -> bytes:
    """A report's frame, or that of what is said in its place."""
    try:
        return pack(report, protocol.ROOM)
    except UNSAYABLE as error:
        return pack(unsayable(report, error))


def in_parts(unsayable: Callable[[RunReport, Exception], RunReport], parts: Iterable[RunReport]) -> list[bytes]:
    """The frames of a report that was cut, up to what cannot be said."""
    frames: list[bytes] = []
    for part in parts:
        try:
            frames.append(pack(part, protocol.ROOM))
        except UNSAYABLE as error:
            frames.append(pack(unsayable(part, error)))
            break
    return frames


def sent(packet: Packet) -> bytes:
    """The frame of anything else, or of what is said in its place; nothing for what nobody misses."""
    try:
        return pack(packet)
    except UNSAYABLE as error:
        if isinstance(packet, Inspection):
            return pack(Inspection(packet.request, error=f"what there is to show cannot be sent: {error}"))
        return b""
