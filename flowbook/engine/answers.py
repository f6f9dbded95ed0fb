"""What clients ask: one method each, named as on the wire. What can be said at once is said without a task."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import msgspec

import flowbook
from flowbook.core.chains import following
from flowbook.core.messages import StartRun
from flowbook.core.schedule import SetSchedule
from flowbook.engine.archive import Archives
from flowbook.engine.changes import Changes
from flowbook.engine.engine import Engine
from flowbook.engine.fleet import Fleet
from flowbook.engine.inspections import Inspections
from flowbook.engine.links import ClientLink
from flowbook.engine.modules import Modules
from flowbook.engine.moves import Moves
from flowbook.engine.publish import Publisher
from flowbook.engine.queue_calls import QueueCalls
from flowbook.engine.queues import Queues
from flowbook.engine.retention import Retention
from flowbook.engine.runs import LiveRun, newest_first, summary_of
from flowbook.engine.schedule_calls import ScheduleCalls
from flowbook.engine.views import ViewMaker
from flowbook.errors import FlowbookError, ProtocolError
from flowbook.store.base import CLOSED_STATUS, decode_recorded
from flowbook.store.home import Home
from flowbook.store.values import ValueFiles
from flowbook.wire import calls
from flowbook.wire.history import ExportRun, ImportRun, Prune
from flowbook.wire.protocol import Request
from flowbook.wire.queues import ChangeQueue, DrainWorker
from flowbook.wire.schedules import ChangeSchedule, OfSchedule

LONGEST_WAIT = 24 * 3600.0


class Answers:
    """The methods. Each takes the client's link, the request's number and its decoded parameters."""

    def __init__(
        self,
        engine: Engine,
        fleet: Fleet,
        queues: Queues,
        modules: Modules,
        views: ViewMaker,
        home: Home,
        stop: Callable[[str], None],
        keep: float = 0.0,
    ) -> None:
        self._engine = engine
        self._fleet = fleet
        self._modules = modules
        self._views = views
        self._home = home
        self._stop = stop
        self.changes = Changes(engine)
        self.inspections = Inspections(engine, fleet)
        self._moves = Moves(engine, modules, self.inspections)
        self.queues = QueueCalls(queues, fleet)
        self.schedules = ScheduleCalls(engine.schedules, modules, engine.clock)
        values = ValueFiles(home.folder)
        self.archives = Archives(engine, values)
        self.retention = Retention(engine, modules, values, keep)
        self.publisher = Publisher(views, self._watched_runs)
        self._at_once: dict[str, tuple[msgspec.json.Decoder[Any], Callable[[ClientLink, int, Any], None]]] = {
            name: (msgspec.json.Decoder(shape), method)
            for name, shape, method in (
                ("put_module", calls.PutModule, self._put_module),
                ("status", calls.Nothing, self._status),
                ("stop", calls.Nothing, self._stop_engine),
                ("unwatch", dict[str, int], self._unwatch),
                ("signal", calls.Signal, self.changes.signal),
                ("cancel", calls.Cancel, self.changes.cancel),
                ("terminate", calls.Terminate, self.changes.terminate),
                ("update", calls.Update, self.changes.update),
                ("resume", calls.OfRun, self.changes.resume),
                ("complete", calls.Complete, self.changes.complete),
                ("queues", calls.Nothing, self.queues.all),
                ("change_queue", ChangeQueue, self.queues.change),
                ("drain", DrainWorker, self.queues.drain),
                ("schedules", calls.Nothing, self.schedules.all),
                ("schedule", OfSchedule, self.schedules.one),
                ("change_schedule", ChangeSchedule, self.schedules.change),
            )
        }
        self._of_run: dict[str, tuple[msgspec.json.Decoder[Any], Callable[[ClientLink, int, Any, Any], None]]] = {
            name: (msgspec.json.Decoder(shape), method)
            for name, shape, method in (
                ("run", calls.OfRun, self._run),
                ("history", calls.GetHistory, self._history),
            )
        }
        self._start_decoder = msgspec.json.Decoder(StartRun)
        self._in_a_task: dict[str, tuple[msgspec.json.Decoder[Any], Any]] = {
            name: (msgspec.json.Decoder(shape), method)
            for name, shape, method in (
                ("module", calls.GetModule, self._module),
                ("runs", calls.ListRuns, self._runs),
                ("view", calls.GetView, self._view),
                ("at", calls.GetMoment, self._at),
                ("wait", calls.Wait, self._wait),
                ("watch", calls.Watch, self._watch),
                ("sql", calls.Query, self._sql),
                ("query", calls.Ask, self._query),
                ("update_result", calls.OfUpdate, self.changes.update_result),
                ("move", calls.Move, self._move),
                ("check_runs", calls.CheckRuns, self._check_runs),
                ("set_schedule", SetSchedule, self.schedules.set),
                ("export_run", ExportRun, self.archives.export),
                ("import_run", ImportRun, self.archives.take_in),
                ("prune", Prune, self.retention.prune),
            )
        }

    def request(self, client: ClientLink, request: Request, tasks: anyio.abc.TaskGroup) -> None:
        """Answer a request, now or later."""
        try:
            if request.method == "start":
                self._start(client, request.id, self._start_decoder.decode(request.params), tasks)
            elif request.method in self._of_run:
                decoder, method = self._of_run[request.method]
                params = decoder.decode(request.params)
                run = self._engine.runs.get(params.run)
                if run is None:
                    tasks.start_soon(self._load_first, client, request.id, params, method)
                else:
                    method(client, request.id, params, run)
            elif request.method in self._at_once:
                decoder, simple = self._at_once[request.method]
                simple(client, request.id, decoder.decode(request.params))
            elif request.method in self._in_a_task:
                decoder, slow = self._in_a_task[request.method]
                tasks.start_soon(self._carefully, client, request.id, slow, decoder.decode(request.params))
            else:
                raise ProtocolError(f'this engine has no method "{request.method}"; it may be of another version.')
        except FlowbookError as error:
            client.refuse(request.id, error)
        except msgspec.DecodeError as error:
            client.refuse(request.id, ProtocolError(f'"{request.method}" was asked with wrong parameters: {error}'))

    def _start(self, client: ClientLink, request: int, params: StartRun, tasks: anyio.abc.TaskGroup) -> None:
        if self._modules.is_known(params.module):
            self.changes.start(client, request, params)
        else:
            tasks.start_soon(self._carefully, client, request, self._start_later, params)

    async def _start_later(self, client: ClientLink, request: int, params: StartRun) -> None:
        await self._modules.body(params.module)
        self.changes.start(client, request, params)

    async def _load_first(self, client: ClientLink, request: int, params: Any, method: Any) -> None:
        try:
            method(client, request, params, await self._engine.load(params.run))
        except FlowbookError as error:
            client.refuse(request, error)

    async def _carefully(self, client: ClientLink, request: int, method: Any, params: Any) -> None:
        try:
            await method(client, request, params)
        except FlowbookError as error:
            client.refuse(request, error)

    # At once

    def _put_module(self, client: ClientLink, request: int, params: calls.PutModule) -> None:
        self._modules.put(params.module)
        self._engine.committed.set()
        client.answer(request, params.module.digest)

    def _status(self, client: ClientLink, request: int, params: calls.Nothing) -> None:
        client.answer(request, self.status())

    def status(self) -> calls.Status:
        """The engine about itself."""
        workers = [
            calls.WorkerStatus(
                pid=link.pid,
                worker=link.worker,
                folder=link.place.folder,
                python=link.place.python,
                runs=len(link.runs),
                busy=link.busy,
                queues=list(link.queues),
                tasks=len(link.tasks),
                draining=link.draining,
            )
            for link in self._fleet.links.values()
        ]
        troubles = [text for text in (self._engine.refusal, self._engine.delay) if text]
        return calls.Status(
            pid=os.getpid(),
            workers=workers,
            file=str(self._home.database),
            open_runs=len(self._engine.runs.open),
            version=flowbook.__version__,
            home=str(self._home.folder),
            notices=[*self._engine.store.notices, *troubles],
        )

    def _stop_engine(self, client: ClientLink, request: int, params: calls.Nothing) -> None:
        client.answer(request, None)
        self._stop("it was asked to")

    def _unwatch(self, client: ClientLink, request: int, params: dict[str, int]) -> None:
        self.publisher.unwatch(client, params.get("watch"))

    # About one run

    def _run(self, client: ClientLink, request: int, params: calls.OfRun, run: LiveRun) -> None:
        client.answer(request, run.summary())

    def _history(self, client: ClientLink, request: int, params: calls.GetHistory, run: LiveRun) -> None:
        end = min(params.after + params.limit, run.committed) if params.limit else run.committed
        client.answer_raw(request, b"[" + b",".join(run.records[max(params.after, 0) : end]) + b"]")

    # In a task

    async def _module(self, client: ClientLink, request: int, params: calls.GetModule) -> None:
        client.answer_raw(request, await self._modules.body(params.digest))

    async def _runs(self, client: ClientLink, request: int, params: calls.ListRuns) -> None:
        client.answer(request, await self._summaries(params.limit, params.status))

    async def _watched_runs(self) -> list[calls.Summary]:
        return await self._summaries(100, "")

    async def _summaries(self, limit: int, status: str) -> list[calls.Summary]:
        runs = self._engine.runs
        found = runs.summaries(limit, status)
        if found is None:
            closed = await anyio.to_thread.run_sync(self._engine.store.closed_runs, limit, status)
            stored = [summary_of(decode_recorded(run.first), decode_recorded(run.last)) for run in closed]
            opened = [] if status in CLOSED_STATUS.values() else [r.summary() for r in runs.open.values()]
            found = newest_first(stored + opened, limit)
        return found

    async def _view(self, client: ClientLink, request: int, params: calls.GetView) -> None:
        run = await self._engine.load(params.run)
        client.answer(request, await self._views.shown(run, params.at))

    async def _at(self, client: ClientLink, request: int, params: calls.GetMoment) -> None:
        run = await self._engine.load(params.run)
        client.answer(request, await self.inspections.at(run, params.at))

    async def _wait(self, client: ClientLink, request: int, params: calls.Wait) -> None:
        run = await self._engine.load(self._engine.runs.meant(params.run, "id"))
        timeout = LONGEST_WAIT if params.timeout is None else params.timeout
        with anyio.move_on_after(timeout):
            while True:
                if run.state.closed == "continued":
                    run = await self._engine.load(following(run.id))
                elif run.state.closed or run.state.paused:
                    break
                else:
                    if run.ended is None:
                        run.ended = anyio.Event()
                    await run.ended.wait()
        client.answer(request, run.summary())

    async def _watch(self, client: ClientLink, request: int, params: calls.Watch) -> None:
        if params.run is None:
            self.publisher.watch_list(client, request)
        else:
            await self.publisher.watch(await self._engine.load(params.run), client, request)

    async def _query(self, client: ClientLink, request: int, params: calls.Ask) -> None:
        run = await self._engine.load(self._engine.runs.meant(params.run, "id"))
        client.answer(request, await self.inspections.query(run, params))

    async def _move(self, client: ClientLink, request: int, params: calls.Move) -> None:
        run = await self._engine.load(self._engine.runs.meant(params.run, "id"))
        client.answer(request, await self._moves.move(run, params))

    async def _check_runs(self, client: ClientLink, request: int, params: calls.CheckRuns) -> None:
        client.answer(request, await self._moves.check(params))

    async def _sql(self, client: ClientLink, request: int, params: calls.Query) -> None:
        limit = max(1, min(params.limit, 1_000_000))
        table = await anyio.to_thread.run_sync(self._engine.store.query, params.query, limit)
        client.answer(request, table)
