"""What clients ask about schedules. A change is answered once it is durable."""

from __future__ import annotations

from collections.abc import Sequence

from flowbook.core.schedule import (
    AnyScheduleEvent,
    ScheduleFired,
    ScheduleReleased,
    ScheduleSkipped,
    SetSchedule,
    TriggerSchedule,
)
from flowbook.core.schedule_state import ScheduleState, upcoming
from flowbook.core.scheduling import unknown
from flowbook.engine.clock import Clock
from flowbook.engine.links import ClientLink
from flowbook.engine.modules import Modules
from flowbook.engine.schedules import Schedules
from flowbook.errors import FlowbookError
from flowbook.wire.calls import Nothing
from flowbook.wire.schedules import BegunRun, ChangeSchedule, OfSchedule, ScheduleChange, ScheduleSummary

MOST_TOLD = 1000
"""Times to come that one call may ask for."""


class ScheduleCalls:
    """The methods; each takes the client's link, the request's number and its parameters."""

    def __init__(self, schedules: Schedules, modules: Modules, clock: Clock) -> None:
        self._schedules = schedules
        self._modules = modules
        self._clock = clock

    async def set(self, client: ClientLink, request: int, params: SetSchedule) -> None:
        """Make or replace a schedule."""
        await self._modules.body(params.spec.run.module)

        def answer(events: Sequence[AnyScheduleEvent], error: FlowbookError | None) -> None:
            if error is not None:
                client.refuse(request, error)
            else:
                client.answer(request, self._summary(self._known(params.name), 5))

        self._schedules.tell(params.name, params, answer)

    def change(self, client: ClientLink, request: int, params: ChangeSchedule) -> None:
        """Pause, resume, delete, trigger or backfill."""

        def answer(events: Sequence[AnyScheduleEvent], error: FlowbookError | None) -> None:
            if error is not None:
                client.refuse(request, error)
                return
            state = self._schedules.states[params.name]
            change = _changed(events, None if state.spec is None else self._summary(state, 5))
            if isinstance(params.change, TriggerSchedule) and not events:
                # The same request again, whose answer was lost.
                change["started"] = [begun.run for begun in state.recent if begun.id == params.change.id]
            client.answer(request, change)

        self._schedules.tell(params.name, params.change, answer)

    def one(self, client: ClientLink, request: int, params: OfSchedule) -> None:
        """Look at one schedule."""
        client.answer(request, self._summary(self._known(params.name), min(max(params.count, 0), MOST_TOLD)))

    def all(self, client: ClientLink, request: int, params: Nothing) -> None:
        """Look at all, by name."""
        states = sorted(self._schedules.states.values(), key=lambda state: state.name)
        client.answer(request, [self._summary(state, 1) for state in states if state.spec is not None])

    def _known(self, name: str) -> ScheduleState:
        state = self._schedules.states.get(name)
        if state is None or state.spec is None:
            raise unknown(name)
        return state

    def _summary(self, state: ScheduleState, count: int) -> ScheduleSummary:
        spec = state.spec
        assert spec is not None
        return ScheduleSummary(
            name=state.name,
            workflow=spec.run.workflow,
            status=state.status,
            reason=state.reason,
            crons=list(spec.crons),
            every=spec.every,
            offset=spec.offset,
            timezone=spec.timezone,
            jitter=spec.jitter,
            start=spec.start or None,
            end=spec.end or None,
            overlap=spec.overlap,
            catch_up=spec.catch_up,
            pause_on_failure=spec.pause_on_failure,
            left=max(spec.limit - state.counted, 0) if spec.limit else None,
            arguments=spec.run.arguments,
            time_parameter=spec.run.time_parameter,
            module=spec.run.module,
            source=spec.run.source,
            since=state.since,
            next=upcoming(state, self._clock.now(), count),
            running=list(state.running),
            buffered=[waiting.at for waiting in state.buffer],
            started=state.started,
            skipped=state.skipped,
            recent=[BegunRun(at=begun.at, run=begun.run) for begun in reversed(state.recent)],
        )


def _changed(events: Sequence[AnyScheduleEvent], schedule: ScheduleSummary | None) -> ScheduleChange:
    fired = [event for event in events if isinstance(event, ScheduleFired)]
    released = [event.run for event in events if isinstance(event, ScheduleReleased)]
    return ScheduleChange(
        schedule=schedule,
        started=[*(event.run for event in fired if event.run), *released],
        buffered=max(sum(not event.run for event in fired) - len(released), 0),
        skipped=sum(event.count for event in events if isinstance(event, ScheduleSkipped)),
    )
