"""Those who wait for the result of an update."""

from __future__ import annotations

from collections.abc import Callable

from flowbook.core.events import RunPaused, UpdateCompleted, UpdateFailed
from flowbook.core.ids import RunId

UpdateEnded = UpdateCompleted | UpdateFailed
Settle = Callable[[UpdateEnded | RunPaused | None], None]


class Updates:
    """Callbacks by run and update id; each is called once, with None where the run ended first, or its pause."""

    def __init__(self) -> None:
        self._waiting: dict[RunId, dict[str, list[Settle]]] = {}

    def wait(self, run: RunId, update: str, settle: Settle) -> None:
        """Call ``settle`` when the update has ended."""
        self._waiting.setdefault(run, {}).setdefault(update, []).append(settle)

    def settle(self, run: RunId, event: UpdateEnded) -> None:
        """An update has ended, durably."""
        waiting = self._waiting.get(run, {})
        for settle in waiting.pop(event.id, ()):
            settle(event)
        if not waiting:
            self._waiting.pop(run, None)

    def pause(self, run: RunId, pause: RunPaused) -> None:
        """The run has paused: what it was sent stays with it, and nobody is kept waiting until people decide."""
        for settles in self._waiting.pop(run, {}).values():
            for settle in settles:
                settle(pause)

    def close(self, run: RunId, following: RunId | None) -> None:
        """The run has closed: what was not handled is handled by the run ``following`` it, or will not be."""
        waiting = self._waiting.pop(run, {})
        if following is not None and waiting:
            self._waiting[following] = waiting
            return
        for settles in waiting.values():
            for settle in settles:
                settle(None)
