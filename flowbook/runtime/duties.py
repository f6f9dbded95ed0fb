"""What a run owes outside, and the work that pays it back: it outlives the code that began it.

A duty is durable before what it is for begins. It ends by being settled, or by failing for good; then it stays open
in the history for people to see. What operations and sagas do with duties is theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from flowbook.core import events as e
from flowbook.core.ids import Key
from flowbook.core.value import Value
from flowbook.errors import OutcomeUnknown
from flowbook.runtime.doing import doing
from flowbook.runtime.outcomes import failure_of
from flowbook.runtime.replay import Asked, mismatch
from flowbook.runtime.shielding import unbroken

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution

Deed = Callable[[], Awaitable[None]]

NOT_STARTED = "not started"

NO_KEY = Key("")


class Owed(NamedTuple):
    """What is owed, as it is recorded: see ``ObligationOpened``."""

    name: str
    what: str
    site: int = 0
    work: e.StepRef | None = None
    begins: Key = NO_KEY
    arguments: dict[str, Value] = {}
    undo: e.StepRef | None = None
    confirm: e.StepRef | None = None
    every: float = 0.0

    def opened(self, key: Key) -> e.ObligationOpened:
        """The fact."""
        return e.ObligationOpened(key, *self)


class Duty:
    """One thing owed. ``durable`` is done once it is recorded; ``settled`` when the code is done with it.

    Its ``owner`` is the task that settles it; one without is the run's own, and ends with that: where the run ends
    well, ``keep`` says how, and otherwise it is taken back.
    """

    def __init__(
        self,
        duties: Duties,
        key: Key,
        about: Owed,
        take_back: Deed,
        *,
        owner: asyncio.Task[Any] | None,
        keep: Deed | None,
    ) -> None:
        self.key = key
        self.name = about.name
        self.what = about.what
        self.begins = about.begins
        self.owner = owner
        self.outcome = ""
        self.problem: BaseException | None = None
        self.open = True
        self.durable: asyncio.Future[None] = duties.execution.loop.create_future()
        self.settled: asyncio.Future[None] = duties.execution.loop.create_future()
        self._duties = duties
        self._take_back = take_back
        self._keep = keep
        self._taking: asyncio.Task[None] | None = None

    async def recorded(self) -> None:
        """Wait until it is durable: what it is for may begin then. CancelledError where it was taken back before."""
        try:
            await self.durable
        except asyncio.CancelledError:
            self.settle(NOT_STARTED)
            raise
        if not self.open:
            raise asyncio.CancelledError

    async def take_back(self) -> None:
        """Have it taken back, once, whoever asks for that and how often; what fails about it is noted.

        A cancellation of whoever waits for it is raised when that has ended.
        """
        if self._taking is None:
            if not self.open:
                return
            self._taking = self._duties.run(self._taken_back())
        await unbroken(self._taking)

    async def _taken_back(self) -> None:
        try:
            await self._take_back()
        except Exception as error:
            self.fail(error)
        except asyncio.CancelledError:
            self.fail(OutcomeUnknown(f"taking '{self.name}' back was cancelled before it had ended"))
        else:
            self.settle("undone")

    async def keep(self) -> None:
        """The run ends well, and this one is its own."""
        if self._keep is not None:
            await self._keep()

    @property
    def is_taken_back(self) -> bool:
        """True from where somebody has wanted that."""
        return self._taking is not None

    def settle(self, outcome: str) -> None:
        """Nothing is owed any more; ``outcome`` is one of those of ``ObligationSettled``."""
        if self.open:
            self.outcome = outcome
            note = e.ObligationSettled(key=self.key, outcome=outcome)
            self._duties.execution.note("obligation ended", self.key, note)
            self._end()

    def fail(self, error: BaseException, tried_with: dict[str, Value] | None = None) -> None:
        """Taking it back has failed for good: people are shown that it is owed, and why."""
        if self.open:
            self.problem = error
            failure = failure_of(error, self._duties.execution.places)
            note = e.ObligationFailed(self.key, failure, tried_with or {})
            self._duties.execution.note("obligation ended", self.key, note)
            self._end()

    def tell(self, error: BaseException) -> None:
        """Have an exception say that taking this back has failed, where it has."""
        if self.problem is not None:
            error.add_note(f"taking back '{self.name}' failed: {self.problem}; see `flowbook obligations`")

    def _end(self) -> None:
        self.open = False
        # What was taken back before it was recorded must not begin any more.
        self.durable.cancel()
        if not self.settled.done():
            self.settled.set_result(None)


class Duties:
    """All duties of one run, in the order they were opened.

    ``blocks`` are the sagas that the code is inside of, and their tasks.
    """

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self._all: dict[Key, Duty] = {}
        self._paths: set[str] = set()
        self.blocks: dict[object, asyncio.Task[Any] | None] = {}

    def open(
        self,
        about: Owed,
        take_back: Deed,
        *,
        owner: asyncio.Task[Any] | None = None,
        keep: Deed | None = None,
    ) -> Duty:
        """Owe something from here on. Where its ``owner`` ends without settling it, it is taken back."""
        execution = self.execution
        key = execution.matching.matched(execution.key(f"owe.{about.name}"), Asked("obligation", about.name))
        duty = self._all[key] = Duty(self, key, about, take_back, owner=owner, keep=keep)
        execution.note("obligation", key, about.opened(key))
        return duty

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that neither termination drops nor the end of the workflow's code, and that code does not find."""
        task = self.execution.loop.create_task(work, is_hidden=True)
        self.adopt(task.path)
        made: asyncio.Task[Any] = task
        return made

    def adopt(self, path: str) -> None:
        """What has this path, or key, is a duty's."""
        self._paths.add(path)

    def renamed(self, own: Key, key: Key) -> None:
        """What the code asks for under ``own`` has ``key`` in the history: it is a duty's all the same."""
        if self.owns(own):
            self.adopt(key)

    def owns(self, path: str) -> bool:
        """True for a duty's task, for tasks it began, and for what they ask for."""
        while path and self._paths:
            if path in self._paths:
                return True
            path = path.rpartition("/")[0]
        return False

    def recorded(self, event: e.ObligationOpened) -> None:
        """It is durable: what is owed may begin."""
        duty = self._all.get(event.key)
        if duty is None:
            raise mismatch(
                f"the history owes '{event.name}' here, and the code does not",
                event.key,
                recorded=f"obligation '{event.name}'",
                asked=doing(self.execution),
            )
        if event.begins and event.begins != duty.begins:
            # The code was edited. What is owed for begins under the key that is recorded, if it has not yet.
            self.execution.expected.names[duty.begins] = event.begins
        if not duty.durable.done():
            duty.durable.set_result(None)

    @property
    def outstanding(self) -> list[Duty]:
        """What is still owed, oldest first."""
        return [duty for duty in self._all.values() if duty.open]

    def around(self, but: Collection[asyncio.Task[Any]]) -> str:
        """What the code is inside of that would be taken back if it ended now, in words.

        What some tasks are inside of does not count, nor what those are that nobody waits for any more.
        """
        current = asyncio.current_task()
        going_on = {task.path for task in self.execution.loop.unfinished() if task is current or not task.cancelling()}

        def counts(owner: asyncio.Task[Any] | None) -> bool:
            return owner is not None and owner not in but and going_on.issuperset(_lineage(getattr(owner, "path", "")))

        if any(map(counts, self.blocks.values())):
            return "a saga"
        return next((f"{duty.what} '{duty.name}'" for duty in self.outstanding if counts(duty.owner)), "")

    async def wind_up(self, *, keep: bool) -> None:
        """The workflow's code has ended: wait for what is being settled, then keep or take back the rest."""
        while owned := [duty for duty in self.outstanding if duty.owner is not None]:
            left = [duty for duty in owned if duty.owner is not None and duty.owner.done()]
            if left:
                await self._take_back(left)
            else:
                either: list[asyncio.Future[Any]] = [duty.settled for duty in owned]
                either += {duty.owner: None for duty in owned if duty.owner is not None}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if keep:
            await self.keep_all()
        else:
            await self.take_back_all()

    async def keep_all(self) -> None:
        """What was done stands; what nobody knows of is owed."""
        for duty in self.outstanding:
            await duty.keep()

    async def take_back_all(self) -> None:
        """Take back what is owed, last first; what fails is noted and stops no other."""
        await self._take_back(self.outstanding)

    async def _take_back(self, duties: list[Duty]) -> None:
        for duty in reversed(duties):
            # Clean-up code of a generator can cancel this very task, and that takes nothing else back.
            with suppress(asyncio.CancelledError):
                await duty.take_back()


def _lineage(path: str) -> list[str]:
    """A task's path, and those of the tasks that it was made by, up to the run's own."""
    parts = path.split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
