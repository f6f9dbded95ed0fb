"""Looks at runs that only a worker can take: frames and values of the past, queries, and whether other code fits.

Only workers load user code; one of the run's place re-executes its history in view mode.
"""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import anyio

from flowbook.core.evolve import fold
from flowbook.core.ids import Digest
from flowbook.core.value import Value
from flowbook.engine.engine import Engine
from flowbook.engine.fleet import Fleet
from flowbook.engine.runs import LiveRun
from flowbook.errors import EngineUnavailable, FlowbookError, UnknownRun, UserError
from flowbook.store.base import decode_recorded
from flowbook.wire import calls
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

    async def at(self, run: LiveRun, at: int) -> calls.Moment:
        """The moment after event ``at``."""
        if not 1 <= at <= run.committed:
            raise UserError(f'run "{run.id}" has events 1 to {run.committed}; there is no event {at}.')
        answer = await self._ask(run, at, self._module_at(run, at))
        if answer.error:
            raise FlowbookError(f'event {at} of run "{run.id}" cannot be shown: {answer.error}')
        return calls.Moment(event=at, stack=list(answer.stack), values=dict(answer.values))

    async def query(self, run: LiveRun, asked: calls.Ask) -> Value:
        """What a query handler of the run's code answers as of now."""
        answer = await self._ask(
            run,
            run.committed,
            run.state.module,
            query=asked.name,
            arguments=asked.arguments,
            keywords=asked.keywords,
        )
        if answer.value is None:
            text = f'query "{asked.name}" of run "{run.id}": {answer.error}'
            raise UserError(text) if answer.refused else FlowbookError(text)
        return answer.value

    async def fit(self, run: LiveRun, module: Digest) -> Inspection:
        """Whether the run would go on with this module; ``error`` and ``difference`` say why not."""
        return await self._ask(run, run.committed, module, fit=True)

    def _module_at(self, run: LiveRun, at: int) -> Digest:
        """The code the run used then: a run may have been moved to other code since."""
        if at == run.committed or b'"RunMoved"' not in b"".join(run.records[at:]):
            return run.state.module
        return fold(map(decode_recorded, run.records[:at])).module

    async def _ask(self, run: LiveRun, at: int, module: Digest, **asked: Any) -> Inspection:
        reuse: list[bytes] = []
        if run.state.origin is not None:
            with suppress(UnknownRun):
                # It may have been pruned; what was reused is in the run's own history.
                reuse = (await self._engine.load(run.state.origin.run)).records[: run.state.origin.seq]
        number = next(self._numbers)
        self._asked[number] = anyio.Event()
        try:
            with anyio.fail_after(TIMEOUT):
                link = await self._fleet.worker_of(run.state.place)
                link.inspect(number, module, run.records[:at], reuse, **asked)
                await self._asked[number].wait()
        except TimeoutError:
            raise EngineUnavailable(f'no worker answered about run "{run.id}" within {TIMEOUT:g} s.') from None
        finally:
            del self._asked[number]
        return self._answers.pop(number)

    def answered(self, inspection: Inspection) -> None:
        """A worker's answer."""
        asked = self._asked.get(inspection.request)
        if asked is not None:
            self._answers[inspection.request] = inspection
            asked.set()
