"""What all attempts of one worker share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from flowbook.store.mark import Mark
from flowbook.store.values import ValueFiles


@dataclass(slots=True)
class Workplace:
    """``files`` hold long values; ``mark`` says what runs, to whoever finds the worker dead; ``threads`` lets so many
    plain steps run at once, None any number.
    """

    files: ValueFiles
    mark: Mark | None = None
    threads: asyncio.Semaphore | None = None
