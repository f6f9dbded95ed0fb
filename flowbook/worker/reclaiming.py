"""Memory of runs that were dropped, given back soon.

Tasks and what they wait for refer to each other, so only the garbage collector frees a dropped run, and a worker that
is idle allocates nothing that would make it look. What modules have brought along stays for the life of the process,
and is not looked at each time.
"""

from __future__ import annotations

import gc

ENOUGH = 150
"""Dropped runs, after which the worker is not left to find a quiet moment."""

FEW = 20
"""Dropped runs that are not worth looking for."""


class Reclaimer:
    """Counts dropped runs, and collects what they leave."""

    def __init__(self) -> None:
        self._dropped = 0

    def dropped(self) -> None:
        """A run was dropped."""
        self._dropped += 1

    def reclaim(self, *, is_quiet: bool) -> None:
        """Free what dropped runs leave, where these are many, or where nothing else is to be done."""
        if self._dropped >= (FEW if is_quiet else ENOUGH):
            self._dropped = 0
            gc.collect()

    def loaded(self) -> None:
        """A module was imported: leave it, and all that came with it, alone from now on."""
        # What was set aside before is looked at once more: runs that were held then may be gone.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
