"""What a worker and a step's own process say to each other: one order, and then what comes of it, as lines of JSON."""

from __future__ import annotations

import msgspec

from flowbook.core.events import Chunk
from flowbook.core.failure import Failure
from flowbook.core.module import Module
from flowbook.core.value import Value


class Order(msgspec.Struct, omit_defaults=True):
    """What the process is to do. ``home`` is where the step is defined; ``memory`` in bytes, 0 for no limit.

    ``place`` goes into the process's stdout wherever it shows something by another way, so that it is known where in
    the output that belongs. ``beats``: the process gives signs of life for the step.
    """

    module: Module
    step: str
    home: str
    folder: str
    run: str
    workflow: str
    key: str
    attempt: int
    item: int | None = None
    arguments: list[Value] = []
    keywords: dict[str, Value] = {}
    details: Value | None = None
    started: float = 0.0
    memory: int = 0
    place: str = ""
    beats: bool = False
    original: str = ""


class Said(msgspec.Struct, omit_defaults=True):
    """One thing the process says: something shown, progress, a heartbeat, or, last, its value or failure."""

    chunk: Chunk | None = None
    progress: tuple[float, float, str] | None = None
    beat: bool = False
    details: Value | None = None
    value: Value | None = None
    failure: Failure | None = None
