"""How a run's code comes to its end: what is still at work is wound up, and then one end is said.

Its own end, by which it succeeds, fails, was cancelled or goes on as a new run; or it is dropped where it stands. That
it is told to stop before is in ``stopping``.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flowbook.core import events as e
from flowbook.core.value import Value
from flowbook.runtime import outcomes
from flowbook.runtime.going_on import ContinueAsNew, continued, going_on

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution
    from flowbook.runtime.scheduled import Task


class Ending:
    """One run's end. The code has ``terminated`` where it was dropped."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self.terminated = False
        self._goes_on = self._is_well = False
        self._is_reached = self._is_wound_up = False
        self._handling: list[Task] = []
        self._left: list[Task] = []
        self._continuing: ContinueAsNew | None = None
        self._unheard: e.CancelRequested | None = None

    @property
    def has_come(self) -> bool:
        """True when the workflow's code has come to its end, or was dropped."""
        main = self._execution.main
        return self.terminated or main is None or main.done()

    def is_outlived(self, close: str) -> bool:
        """True when the code has come to its end, and a child with this ``parent_close`` has not because of that."""
        return self.has_come and (close == "abandon" or self._goes_on)

    def come(self, main: asyncio.Task[Any]) -> None:
        """The workflow's own code is done: all else is cancelled, and cleans up before the end, as in asyncio.run()."""
        execution = self._execution
        error = None if main.cancelled() else main.exception()
        is_unharmed = execution.stopping.error is None
        self._goes_on = is_unharmed and going_on(error) is not None
        self._is_well = self._goes_on or (is_unharmed and error is None and not main.cancelled())
        self._handling = execution.handlers.running if self._goes_on else []
        execution.handlers.leave()
        # What becomes of children is their parent_close's to say.
        spared = {main, *self._handling, *execution.children, *execution.closing}
        unfinished = execution.loop.unfinished()
        self._left = [other for other in unfinished if other not in spared and not execution.duties.owns(other.path)]
        for other in self._left:
            other.cancel()
        self._is_reached = True

    def settle(self) -> bool:
        """Every task waits for something: a run that has come to its end concludes.

        True where that is only after other tasks have ended, or after something is wound up.
        """
        is_reached, self._is_reached = self._is_reached, False
        if not is_reached:
            return False
        execution = self._execution
        if busy := self._busy:
            execution.duties.run(asyncio.wait(busy)).add_done_callback(self._come_again)
            return True
        left = execution.duties.outstanding or execution.closing or execution.loop.generators()
        if left and not self._is_wound_up:
            winding = execution.duties.run(self._wind_up())
            winding.add_done_callback(self._wound_up)
            return True
        self._conclude()
        return False

    @property
    def _busy(self) -> list[Task]:
        """What the end waits for: handlers of a run that goes on, and the clean-up of what was cancelled."""
        return [task for task in (*self._handling, *self._left) if not task.done()]

    def _come_again(self, _: asyncio.Task[Any]) -> None:
        self._is_reached = True

    async def _wind_up(self) -> None:
        execution = self._execution
        while unfinished := [task for task in execution.closing if not task.done()]:
            await asyncio.wait(unfinished)
        for generator in execution.loop.generators():
            with suppress(Exception, asyncio.CancelledError):
                await generator.aclose()
        await execution.duties.wind_up(keep=self._is_well)

    def _wound_up(self, winding: asyncio.Task[None]) -> None:
        """Nothing stays owed because clean-up code has ended the winding up, by ``sys.exit()`` for one."""
        duties = self._execution.duties
        if not self._is_wound_up and (winding.cancelled() or winding.exception() is not None):
            again = duties.run(duties.wind_up(keep=self._is_well))
            again.add_done_callback(self._wound_up)
        else:
            self._is_reached = True
        self._is_wound_up = True

    def _conclude(self) -> None:
        execution, main = self._execution, self._execution.main
        if main is None or self._is_said:
            return
        execution.concluded = True
        # A signal that comes now is the next run's.
        execution.signals.clear()
        execution.stops += [command.key for command in execution.steps.values()]
        request = None if main.cancelled() else going_on(main.exception())
        if request is not None and execution.stopping.error is None:
            self._continuing, self._unheard = request, self._unheard or execution.stopping.unheard
            self.say_again()
        else:
            execution.items.append(outcomes.closing(main, execution.stopping, self._encoded, execution.places))

    def _encoded(self, result: Any) -> Value:
        return self._execution.values.encoded(result, f"result of {self._execution.workflow.name}")

    def ask(self, request: e.CancelRequested) -> None:
        """Somebody asks the run to stop whose own code is done: what still cleans up is told again.

        What is finished before the run goes on can hear it. When the time of the run is up, nothing is waited for.
        """
        self._unheard = request
        cleaning = [task for task in self._left if not task.done()]
        if cleaning and request.cause == "timeout" and not self.terminated:
            self._drop(outcomes.stopped(request))
            return
        for task in dict.fromkeys((*self._execution.handlers.running, *cleaning)):
            task.cancel()
        self.say_again()

    def say_again(self) -> None:
        """Ask to go on as a new run, with all that nobody has read; again where something came meanwhile.

        A cancel is carried over once: code that waits for nothing would never hear it.
        """
        if self._continuing is None or self._is_said:
            return
        execution = self._execution
        execution.items = [item for item in execution.items if not isinstance(item, e.CLOSING)]
        if self._unheard is not None and self._unheard.carried:
            execution.items.append(outcomes.stopped(self._unheard))
        else:
            execution.items.append(continued(execution, self._continuing, self._unheard))

    @property
    def _is_said(self) -> bool:
        """True where there is nothing for the code to say about its end, or nobody to say it to."""
        return self.terminated or self._execution.expected.closed or self._execution.is_view

    def terminate(self) -> None:
        """Somebody ends the run. Code that has said how it ends, and does not go on, has one end already."""
        if not self._execution.concluded or self._continuing is not None:
            self._drop(e.RunTerminated())

    def give_up(self) -> None:
        """The code must end and does not."""
        self._drop(self._execution.stopping.outcome())

    def _drop(self, ending: e.RunTerminated | e.RunFailed | e.RunCancelled) -> None:
        """Drop the workflow's code where it stands; what it owes is still taken back."""
        execution = self._execution
        duties = execution.duties
        self.terminated = execution.dropping = True
        if execution.main is not None:
            execution.main.remove_done_callback(self.come)
        for task in reversed(execution.loop.unfinished()):
            if not duties.owns(task.path):
                execution.loop.drop(task)
        for key, command in list(execution.steps.items()):
            # What becomes of children is their parent_close's to say.
            if not duties.owns(key) and not isinstance(command.elsewhere, e.ChildStarted):
                command.future.cancel()
        for timer in [timer for key, timer in execution.timers.items() if not duties.owns(key)]:
            timer.timer.cancel()
        execution.signals.clear()
        execution.dropping = False
        taking_back = duties.run(duties.take_back_all())
        taking_back.add_done_callback(lambda _: None if execution.expected.closed else execution.report(ending))
