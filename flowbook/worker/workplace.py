"""What all attempts of one worker share."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass

from flowbook.store.mark import Mark
from flowbook.store.values import ValueFiles


@dataclass(slots=True)
class Workplace:
    """``files`` hold long values, and ``mark`` says what runs, to whoever finds the worker dead.

    ``threads`` lets so many plain steps run at once, None any number. ``folder`` is that of the place, and ``start``
    where its steps begin: there, or where a module has gone when it was loaded; None for wherever the process is.
    ``before`` is where that module has found it, and ``running`` are the attempts in the process itself.
    """

    files: ValueFiles
    mark: Mark | None = None
    threads: asyncio.Semaphore | None = None
    folder: str | None = None
    start: str | None = None
    running: int = 0
    before: str = ""

    def loading(self) -> None:
        """A module is about to be loaded: what it says of folders is meant from the place's."""
        if self.folder is not None and not self.running:
            _go(self.folder)
        self.before = _here()

    def loaded(self) -> None:
        """It was loaded, and steps begin where it has gone."""
        if self.folder is not None and (here := _here()) != self.before:
            self.start = here

    def go_to_start(self, start: str) -> str:
        """Be where a step begins; a warning where one that runs has left it, and may have to be where it is."""
        here = _here()
        if here == start:
            return ""
        if self.running:
            return (
                f"this step begins in {here or 'a folder that is gone'} and not in {start}: os.chdir() in a step moves "
                'all that run in its worker. Use full paths there, or give that step isolate="process".\n'
            )
        _go(start)
        return ""


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _go(folder: str) -> None:
    # Where it is gone there is nowhere to go, and most steps do not care.
    with suppress(OSError):
        os.chdir(folder)
