"""What a run owes outside, and the work that pays it back: it outlives the code that began it.

A duty is durable before what it is for begins. It ends by being settled, or by failing for good; then it stays open
in the history for people to see. What operations and sagas do with duties is theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from flowbook.core import events as e
from flowbook.core.ids import Key
from flowbook.runtime.outcomes import failure_of
from flowbook.runtime.replay import Asked, mismatch

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution

TakeBack = Callable[[], Awaitable[None]]


class Duty:
    """One thing owed. ``durable`` is done once it is recorded; ``settled`` when nothing is owed any more.

    ``of_the_run`` ones are kept or taken back when the run ends; all others are settled by whoever opened them.
    """

    def __init__(self, duties: Duties, key: Key, name: str, take_back: TakeBack, of_the_run: bool) -> None:
        self.key = key
        self.name = name
        self.take_back = take_back
        self.of_the_run = of_the_run
        self.open = True
        self.durable: asyncio.Future[None] = duties.execution.loop.create_future()
        self.settled: asyncio.Future[None] = duties.execution.loop.create_future()
        self._duties = duties

    async def recorded(self) -> None:
        """Wait until it is durable: what it is for may begin then. CancelledError where it was taken back before."""
        try:
            await self.durable
        except asyncio.CancelledError:
            self.settle("cancelled")
            raise
        if not self.open:
            raise asyncio.CancelledError

    def settle(self, outcome: str) -> None:
        """Nothing is owed any more: ``kept``, ``undone`` or ``cancelled``."""
        if self.open:
            note = e.ObligationSettled(key=self.key, outcome=outcome)
            self._duties.execution.note("obligation ended", self.key, note)
            self._end()

    def fail(self, error: BaseException) -> None:
        """Taking it back has failed for good."""
        if self.open:
            failure = failure_of(error, self._duties.execution.places)
            self._duties.execution.note("obligation ended", self.key, e.ObligationFailed(self.key, failure))
            self._end()

    def _end(self) -> None:
        self.open = False
        # What was taken back before it was recorded must not begin any more.
        self.durable.cancel()
        if not self.settled.done():
            self.settled.set_result(None)


class Duties:
    """All duties of one run, in the order they were opened."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self._all: dict[Key, Duty] = {}
        self._paths: list[str] = []

    def open(self, name: str, what: str, take_back: TakeBack, *, site: int = 0, of_the_run: bool = False) -> Duty:
        """Owe something from here on; ``what`` is ``operation`` or ``undo``."""
        execution = self.execution
        key = execution.matched(execution.key(f"owe.{name}"), Asked("obligation", name))
        duty = self._all[key] = Duty(self, key, name, take_back, of_the_run)
        execution.note("obligation", key, e.ObligationOpened(key=key, name=name, what=what, site=site))
        return duty

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that termination does not drop, nor the end of the workflow's code."""
        task = self.execution.loop.create_task(work)
        self._paths.append(task.path)
        made: asyncio.Task[Any] = task
        return made

    def owns(self, path: str) -> bool:
        """True for a duty's task, for tasks it began, and for what they ask for."""
        return any(path == own or path.startswith(f"{own}/") for own in self._paths)

    def recorded(self, event: e.ObligationOpened) -> None:
        """It is durable: what is owed may begin."""
        duty = self._all.get(event.key)
        if duty is None:
            raise mismatch(
                f"the history owes '{event.name}' here, and the code does not",
                event.key,
                recorded=f"obligation '{event.name}'",
                asked=self.execution.doing(),
            )
        if not duty.durable.done():
            duty.durable.set_result(None)

    @property
    def outstanding(self) -> list[Duty]:
        """What is still owed, oldest first."""
        return [duty for duty in self._all.values() if duty.open]

    async def wind_up(self, *, keep: bool) -> None:
        """The workflow's code has ended: wait for what is being settled, then keep or take back the rest."""
        while waiting := [duty.settled for duty in self.outstanding if not duty.of_the_run]:
            await asyncio.wait(waiting)
        if keep:
            self.keep_all()
        else:
            await self.take_back_all()

    def keep_all(self) -> None:
        """What was done stands."""
        for duty in self.outstanding:
            if duty.of_the_run:
                duty.settle("kept")

    async def take_back_all(self) -> None:
        """Take back what is owed, last first; what fails is noted and stops no other."""
        for duty in reversed(self.outstanding):
            try:
                await duty.take_back()
            except Exception as error:
                duty.fail(error)
            else:
                duty.settle("undone")
