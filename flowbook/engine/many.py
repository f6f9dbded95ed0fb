"""Many runs at once: which match, the same said to all of them in one turn, and lists of runs for eyes."""

from __future__ import annotations

from collections.abc import Sequence

import anyio.to_thread

from flowbook.core.ids import RunId
from flowbook.core.messages import CancelRun, SendSignal, TerminateRun
from flowbook.engine.engine import Engine
from flowbook.engine.links import ClientLink
from flowbook.engine.queries import Queries
from flowbook.engine.runs import LiveRun, newest_first
from flowbook.engine.summaries import summary_of
from flowbook.engine.told import Told
from flowbook.errors import FlowbookError, UserError
from flowbook.store.base import CLOSED_STATUS, ClosedRun
from flowbook.wire.calls import ListRuns, Summary
from flowbook.wire.many import MatchedRun, MatchRuns, TellRuns, ToldRun

MOST = 100_000
"""Runs that one predicate can match."""

_DONE = {CancelRun: "cancelled", TerminateRun: "terminated"}


class Many:
    """The methods; each takes the client's link, the request's number and its parameters."""

    def __init__(self, engine: Engine, queries: Queries) -> None:
        self._engine = engine
        self._queries = queries

    async def runs(self, client: ClientLink, request: int, params: ListRuns) -> None:
        """Answer the newest runs."""
        if not params.where:
            client.answer(request, await self.newest(params.limit, params.status))
            return
        status = (f"status = '{params.status}'",) if params.status.isalpha() else ()
        found = await self._matching((*params.where, *status), max(1, params.limit), params.timeout)
        client.answer(request, await self._summaries(found))

    async def newest(self, limit: int, status: str = "") -> list[Summary]:
        """Summaries, newest first."""
        runs = self._engine.runs
        found = runs.summaries(limit, status)
        if found is None:
            closed = await anyio.to_thread.run_sync(self._engine.store.closed_runs, limit, status)
            stored = [await self._ended(run) for run in closed]
            opened = [] if status in CLOSED_STATUS.values() else [r.summary() for r in runs.open.values()]
            found = newest_first(stored + opened, limit)
        return found

    async def _summaries(self, ids: Sequence[RunId]) -> list[Summary]:
        """Summaries in this order."""
        runs = self._engine.runs
        found = {known: run.summary() for known in ids if (run := runs.get(known)) is not None}
        missing = [run for run in ids if run not in found]
        if missing:
            for ended in await anyio.to_thread.run_sync(self._engine.store.ends, missing):
                found[ended.run] = await self._ended(ended)
        return [found[run] for run in ids if run in found]

    async def _ended(self, run: ClosedRun) -> Summary:
        """Of a run that is not in memory and owes nothing only first and last event are read."""
        if run.run in self._engine.runs.owing:
            return (await self._engine.load(run.run)).summary()
        return summary_of(run)

    async def match(self, client: ClientLink, request: int, params: MatchRuns) -> None:
        """Answer the open runs that are meant."""
        among = "status = 'paused'" if params.paused else "ended is null"
        ids = await self._matching((params.where, among), MOST + 1, params.timeout)
        if len(ids) > MOST:
            raise UserError(f"more than {MOST:,} runs match; narrow the predicate.")
        opened = self._engine.runs.open
        found = [opened[run] for run in reversed(ids) if run in opened]
        client.answer(
            request,
            [
                MatchedRun(id=run.id, workflow=state.workflow, status=state.status, started=state.started)
                for run, state in ((run, run.state) for run in found)
                if state.paused or not params.paused
            ],
        )

    async def _matching(self, conditions: Sequence[str], limit: int, timeout: float) -> list[RunId]:
        store = self._engine.store
        table = await self._queries.run(lambda stop: store.matching(conditions, limit, stop), timeout)
        return [RunId(row[0]) for row in table.rows]

    def tell(self, client: ClientLink, request: int, params: TellRuns) -> None:
        """Say it to all in the next turn, and answer once that is durable."""
        told: list[ToldRun] = [ToldRun(run=run, outcome=None, error=None) for run in params.runs]
        left = len(told)
        if not told:
            client.answer(request, told)
        for entry in told:
            one = Told(RunId(entry["run"]), [params.message], to="heir")

            def answer(
                run: LiveRun | None, error: FlowbookError | None, entry: ToldRun = entry, one: Told = one
            ) -> None:
                nonlocal left
                if error is not None:
                    entry["error"] = str(error)
                else:
                    assert run is not None
                    entry["outcome"] = _outcome(params, run, one.effect)
                left -= 1
                if not left:
                    client.answer(request, told)

            one.answer = answer
            self._engine.tell(one)


def _outcome(params: TellRuns, run: LiveRun, has_effect: bool) -> str:
    done = _DONE.get(type(params.message))
    if done is None:
        return "recorded" if isinstance(params.message, SendSignal) else run.state.status
    if not run.state.closed:
        return "queued"
    return done if run.state.closed == done and has_effect else "already done"
