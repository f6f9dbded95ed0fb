"""Views of runs for those who look: ``core.view`` fed with what the engine has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import anyio.to_thread

from flowbook.core.events import Recorded, StepHeartbeat, StepProgress
from flowbook.core.module import Module
from flowbook.engine.modules import Modules
from flowbook.engine.runs import LiveRun
from flowbook.store.base import decode_recorded

LONG = 2000
"""Events above which a view is made in a thread."""


class Fold(Protocol):
    """A view under construction."""

    def apply(self, recorded: Recorded) -> None:
        """Take in one more event."""

    def glimpse(self, said: StepProgress | StepHeartbeat, time: float) -> None:
        """Take in what a step says that is not recorded."""

    def shown(self) -> dict[str, Any]:
        """The view as it is now, not to be changed by later events."""


MakeFold = Callable[[Module | None], Fold]
Difference = Callable[[dict[str, Any], dict[str, Any]], list[Any]]


class LiveView:
    """A view that follows its run. Events it has seen are passed over."""

    def __init__(self, fold: Fold, difference: Difference) -> None:
        self._fold = fold
        self._seq = 0
        self.difference = difference

    def apply(self, recorded: Recorded) -> None:
        """Take in one more event."""
        if recorded.seq > self._seq:
            self._fold.apply(recorded)
            self._seq = recorded.seq

    def glimpse(self, said: StepProgress | StepHeartbeat, time: float) -> None:
        """Take in what a step says that is not recorded."""
        self._fold.glimpse(said, time)

    def catch_up(self, records: Sequence[bytes]) -> None:
        """Take in what is missing of an encoded history."""
        for record in records[self._seq :]:
            self.apply(decode_recorded(record))

    def shown(self) -> dict[str, Any]:
        """The view as it is now."""
        return self._fold.shown()


class ViewMaker:
    """Makes views of runs."""

    def __init__(self, modules: Modules, make: MakeFold, difference: Difference) -> None:
        self._modules = modules
        self._make = make
        self._difference = difference

    async def live(self, run: LiveRun) -> LiveView:
        """A view up to the last durable event, to be kept up to date."""
        return await self._view(run, run.committed)

    async def shown(self, run: LiveRun, at: int | None = None) -> dict[str, Any]:
        """The view as of event ``at``, or now."""
        count = run.committed if at is None else max(0, min(at, run.committed))
        return (await self._view(run, count)).shown()

    async def _view(self, run: LiveRun, count: int) -> LiveView:
        view = LiveView(self._make(await self._modules.drawn(run.state.module)), self._difference)
        records = run.records[:count]
        if count > LONG:
            await anyio.to_thread.run_sync(view.catch_up, records)
        else:
            view.catch_up(records)
        return view
