"""Where a place is by now.

A run names the folder and the Python it was started with, and that is what its worker stands for, for ever. Since then
the project may have been moved, or its environment made anew elsewhere: that is known here and nowhere else.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import PurePath

import msgspec

from flowbook.core.events import Place
from flowbook.store.home import Home, write_private

log = logging.getLogger("flowbook.engine")


class Places:
    """Knows the folders that a project has been in.

    ``python`` stands in for an interpreter that is gone.
    """

    def __init__(self, home: Home, python: str = sys.executable) -> None:
        self._project = home.folder.parent
        self._former = _recorded(home)
        self._python = python
        self._told: set[Place] = set()

    def now(self, place: Place) -> Place:
        """The folder and the interpreter to start a worker of ``place`` with."""
        folder, python = self._moved(place.folder), self._moved(place.python)
        if not os.access(python, os.X_OK):
            python = self._python
        found = Place(folder, python)
        if found != place and place not in self._told:
            self._told.add(place)
            log.warning(
                "%s with %s is gone; runs that were started there go on in %s with %s",
                place.folder,
                place.python,
                folder,
                python,
            )
        return found

    def _moved(self, path: str) -> str:
        """Where a file or folder that was in the project, and is gone, is now; else the path itself."""
        if os.path.exists(path):
            return path
        for former in reversed(self._former):
            if PurePath(path).is_relative_to(former):
                here = self._project / PurePath(path).relative_to(former)
                if here.exists():
                    return str(here)
        return path


def _recorded(home: Home) -> list[str]:
    """The folders that the project has been in, oldest first; notes the one it is in now."""
    try:
        known = msgspec.json.decode(home.folders.read_bytes(), type=list[str])
    except (OSError, msgspec.MsgspecError):
        known = []
    here = str(home.folder.parent)
    if known[-1:] != [here]:
        known.append(here)
        write_private(home.folders, msgspec.json.encode(known))
    return known[:-1]
