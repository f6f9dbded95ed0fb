"""What all facts have in common, and the small shapes several of them carry. The facts themselves: ``events``."""

from __future__ import annotations

from typing import Any

import msgspec

from flowbook.core.ids import Key, RunId, Seq
from flowbook.core.text import writable


class Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind"):
    """Base of all facts; the class name is the ``kind`` in storage."""


class Place(msgspec.Struct, frozen=True):
    """Where a run's code runs: working directory and interpreter. A worker serves one place."""

    folder: str
    python: str


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something a step showed: ``stream`` is stdout, stderr, log or display.

    ``text`` for the streams; ``data`` maps a MIME type to its content for displays.
    """

    stream: str
    text: str = ""
    data: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if not self.text.isascii():
            msgspec.structs.force_setattr(self, "text", writable(self.text))


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run and event a fork came from, and the steps that were to run again."""

    run: RunId
    seq: Seq
    rerun: tuple[str, ...] = ()


class Parent(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run that started this one as its child, the key of the call that did, and what the parent's end means:

    ``cancel``, ``terminate`` or ``abandon`` the child.
    """

    run: RunId
    key: Key
    close: str = "cancel"
