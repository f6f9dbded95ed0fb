"""What clients ask that changes a run: start, signal, update, cancel, terminate, resume, complete, settle.

Each is told to the engine and answered once it is durable. Looking at runs is in ``answers``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowbook.core import token
from flowbook.core.chains import following
from flowbook.core.events import RunPaused, UpdateCompleted, UpdateFailed
from flowbook.core.ids import RunId
from flowbook.core.messages import (
    AnyMessage,
    CancelRun,
    CompleteStep,
    ResumeRun,
    RetryObligation,
    SendSignal,
    SendUpdate,
    SettleObligation,
    StartRun,
    TerminateRun,
)
from flowbook.engine.engine import Engine
from flowbook.engine.links import ClientLink
from flowbook.engine.runs import LiveRun
from flowbook.engine.told import Told
from flowbook.engine.updates import Settle, UpdateEnded
from flowbook.errors import FlowbookError, RunClosed, UserError
from flowbook.store.base import decode_recorded
from flowbook.wire import calls


class Changes:
    """The methods; each takes the client's link, the request's number and its parameters.

    Which run an id means is found out when the engine decides, not before: the run may go on as another meanwhile.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def start(self, client: ClientLink, request: int, params: StartRun) -> None:
        """Start a run, or answer with the one its id means already. Its module is there."""
        runs, origin = self._engine.runs, params.origin
        if origin is not None and runs.get(origin.run) is None and not runs.is_stored(origin.run):
            raise UserError(f'the run "{origin.run}" to fork from is not in this project.')
        self._change(client, request, params.run, params)

    def signal(self, client: ClientLink, request: int, params: calls.Signal) -> None:
        """Send a signal."""
        self._change(client, request, params.run, SendSignal(params.name, params.value, params.id))

    def resume(self, client: ClientLink, request: int, params: calls.OfRun) -> None:
        """End a pause."""
        self._change(client, request, params.run, ResumeRun())

    def cancel(self, client: ClientLink, request: int, params: calls.Cancel) -> None:
        """Ask the run to stop."""
        self._end(client, request, params.run, CancelRun(params.reason), "cancelled")

    def terminate(self, client: ClientLink, request: int, params: calls.Terminate) -> None:
        """End the run without asking its code."""
        self._end(client, request, params.run, TerminateRun(params.reason, params.now), "terminated")

    def settle_obligation(self, client: ClientLink, request: int, params: calls.SettleObligation) -> None:
        """Settle by hand what a run owes, whether it has ended or not."""
        message = SettleObligation(params.obligation, params.note)
        self._engine.tell(Told(params.run, [message], _summarised(client, request)))

    def retry_obligation(self, client: ClientLink, request: int, params: calls.RetryObligation) -> None:
        """Have another run try to take back what a run owes."""
        message = RetryObligation(params.obligation)
        self._engine.tell(Told(params.run, [message], _summarised(client, request)))

    def complete(self, client: ClientLink, request: int, params: calls.Complete) -> None:
        """Finish the step a token stands for."""
        awaited = token.read(params.token)
        message = CompleteStep(awaited.key, awaited.attempt, params.value, params.failure)
        self._engine.tell(Told(awaited.run, [message], _summarised(client, request)))

    def update(self, client: ClientLink, request: int, params: calls.Update) -> None:
        """Send an update, and answer when its handler has ended."""

        def answer(run: LiveRun | None, error: FlowbookError | None) -> None:
            if error is not None:
                client.refuse(request, error)
                return
            assert run is not None
            recorded = run.state.updates_before.get(params.id, run.id)
            if not params.wait:
                client.answer(request, _result(params.id, recorded, None))
            elif recorded != run.id:
                asked = calls.OfUpdate(recorded, params.id, params.name)
                self._engine.tasks.start_soon(self._look_back, client, request, asked)
            elif params.id not in run.state.updates:
                _settling(client, request, params, run.id)(_ended_update(run, params.id))
            else:
                self._wait(run, params.id, _settling(client, request, params, run.id))

        message = SendUpdate(params.id, params.name, params.arguments, params.keywords)
        self._engine.tell(Told(params.run, [message], answer, to="id"))

    async def _look_back(self, client: ClientLink, request: int, asked: calls.OfUpdate) -> None:
        try:
            await self.update_result(client, request, asked)
        except FlowbookError as error:
            client.refuse(request, error)

    async def update_result(self, client: ClientLink, request: int, params: calls.OfUpdate) -> None:
        """Answer how an update ended, in the run it was recorded with or in one that goes on from it."""
        run = await self._engine.load(params.run)
        settle = _settling(client, request, params, run.id)
        while True:
            ended = _ended_update(run, params.id)
            if ended is not None or run.state.closed != "continued":
                break
            run = await self._engine.load(following(run.id))
        if ended is None and params.id in run.state.updates:
            self._wait(run, params.id, settle)
        else:
            settle(ended)

    def _wait(self, run: LiveRun, update: str, settle: Settle) -> None:
        if run.state.paused:
            settle(RunPaused(reason=run.state.paused))
        else:
            self._engine.updates.wait(run.id, update, settle)

    def _change(self, client: ClientLink, request: int, id: RunId, message: AnyMessage) -> None:
        self._engine.tell(Told(id, [message], _summarised(client, request), to="id"))

    def _end(self, client: ClientLink, request: int, id: RunId, message: AnyMessage, done: str) -> None:
        told = Told(id, [message], to="id")

        def answer(run: LiveRun | None, error: FlowbookError | None) -> None:
            if error is not None:
                client.refuse(request, error)
            else:
                assert run is not None
                # It may have ended by itself before, or in the very turn in which it was asked to.
                ended = done if run.state.closed == done and told.effect else "already done"
                client.answer(request, calls.Outcome(outcome=ended if run.state.closed else "queued"))

        told.answer = answer
        self._engine.tell(told)


def _summarised(client: ClientLink, request: int) -> Callable[[LiveRun | None, FlowbookError | None], None]:
    def answer(run: LiveRun | None, error: FlowbookError | None) -> None:
        if error is not None:
            client.refuse(request, error)
        else:
            assert run is not None
            client.answer(request, run.summary())

    return answer


def _settling(client: ClientLink, request: int, params: calls.Update | calls.OfUpdate, run: RunId) -> Settle:
    def settle(event: UpdateEnded | RunPaused | None) -> None:
        if event is None:
            client.refuse(request, RunClosed(f'run "{run}" ended before update "{params.name}" was handled.'))
        elif isinstance(event, RunPaused):
            kept = f'Update "{params.name}" is recorded and handled when it goes on'
            text = f'run "{run}" is paused: {event.reason}. {kept}: `flowbook resume {run}`, or run.resume().'
            client.refuse(request, FlowbookError(text))
        else:
            client.answer(request, _result(params.id, run, event))

    return settle


def _result(id: str, run: RunId, event: UpdateEnded | None) -> calls.UpdateResult:
    status: Any = "received"
    if event is not None:
        failed = "rejected" if isinstance(event, UpdateFailed) and event.rejected else "failed"
        status = "completed" if isinstance(event, UpdateCompleted) else failed
    return calls.UpdateResult(
        id=id,
        run=run,
        status=status,
        value=event.value if isinstance(event, UpdateCompleted) else None,
        error=event.failure if isinstance(event, UpdateFailed) else None,
    )


def _ended_update(run: LiveRun, id: str) -> UpdateEnded | None:
    """The recorded end of an update that was sent before."""
    for record in reversed(run.records):
        event = decode_recorded(record).event
        if isinstance(event, UpdateCompleted | UpdateFailed) and event.id == id:
            return event
    return None
