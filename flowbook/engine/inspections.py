"""Frames and values of the past, asked of a worker of the run's place: only workers load user code."""

from __future__ import annotations

import itertools

import anyio

from flowbook.engine.engine import Engine
from flowbook.engine.fleet import Fleet
from flowbook.engine.runs import LiveRun
from flowbook.errors import EngineUnavailable, FlowbookError, UserError
from flowbook.wire.calls import Moment
from flowbook.wire.protocol import Inspection

TIMEOUT = 60.0


class Inspections:
    """Questions under way."""

    def __init__(self, engine: Engine, fleet: Fleet) -> None:
        self._engine = engine
        self._fleet = fleet
        self._numbers = itertools.count(1)
        self._asked: dict[int, anyio.Event] = {}
        self._answers: dict[int, Inspection] = {}

    async def at(self, run: LiveRun, at: int) -> Moment:
        """The moment after event ``at``."""
        if not 1 <= at <= run.committed:
            raise UserError(f'run "{run.id}" has events 1 to {run.committed}; there is no event {at}.')
        reuse: list[bytes] = []
        if run.state.origin is not None:
            reuse = (await self._engine.load(run.state.origin.run)).records[: run.state.origin.seq]
        number = next(self._numbers)
        self._asked[number] = anyio.Event()
        try:
            with anyio.fail_after(TIMEOUT):
                link = await self._fleet.worker_of(run.state.place)
                link.inspect(number, run.state.module, run.records[:at], reuse)
                await self._asked[number].wait()
        except TimeoutError:
            raise EngineUnavailable(f"no worker showed event {at} within {TIMEOUT:g} s.") from None
        finally:
            del self._asked[number]
        answer = self._answers.pop(number)
        if answer.error:
            raise FlowbookError(f'event {at} of run "{run.id}" cannot be shown: {answer.error}')
        return Moment(event=at, stack=list(answer.stack), values=dict(answer.values))

    def answered(self, inspection: Inspection) -> None:
        """A worker's answer."""
        asked = self._asked.get(inspection.request)
        if asked is not None:
            self._answers[inspection.request] = inspection
            asked.set()
