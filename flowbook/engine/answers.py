"""What clients ask: one method each, named as on the wire. What can be said at once is said without a task."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
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
from flowbook.engine.many import Many
from flowbook.engine.modules import Modules
from flowbook.engine.moves import Moves
from flowbook.engine.publish import Publisher
from flowbook.engine.queries import Queries
from flowbook.engine.queue_calls import QueueCalls
from flowbook.engine.queues import Queues
from flowbook.engine.retention import Retention
from flowbook.engine.runs import LiveRun
from flowbook.engine.schedule_calls import ScheduleCalls
from flowbook.engine.summaries import summary_of
from flowbook.engine.views import ViewMaker
from flowbook.errors import FlowbookError, InternalError, ProtocolError
from flowbook.store.base import Stop
from flowbook.store.home import Home
from flowbook.store.values import ValueFiles
from flowbook.wire import calls
from flowbook.wire.history import ExportRun, ImportRun, Prune
from flowbook.wire.many import MatchRuns, TellRuns
from flowbook.wire.protocol import Request, pieces
from flowbook.wire.queues import ChangeQueue, DrainWorker
from flowbook.wire.schedules import ChangeSchedule, OfSchedule

log = logging.getLogger("flowbook.engine")

LONGEST_WAIT = 24 * 3600.0

MOST_ROWS = 1_000_000

_READ = frozenset({"run", "history"})
"""For these an ended run need not be in memory."""


Methods = dict[str, tuple[msgspec.json.Decoder[Any], Callable[..., Any]]]
"""How the parameters of each are read, and who answers it."""


def _methods(*methods: tuple[str, Any, Callable[..., Any]]) -> Methods:
    return {name: (msgspec.json.Decoder(shape), method) for name, shape, method in methods}


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
        stop: Callable[[str, float], None],
        keep: float = 0.0,
    ) -> None:
        self._engine = engine
        self._fleet = fleet
        self._modules = modules
        self._views = views
        self._home = home
        self._stop = stop
        self._going: dict[tuple[ClientLink, int], anyio.CancelScope] = {}
        self.queries = Queries()
        self.many = Many(engine, self.queries)
        self.changes = Changes(engine)
        self.inspections = Inspections(engine, fleet)
        self._moves = Moves(engine, modules, self.inspections)
        self.queues = QueueCalls(queues, fleet)
        self.schedules = ScheduleCalls(engine.schedules, modules, engine.clock)
        values = ValueFiles(home.folder)
        self.archives = Archives(engine, values)
        self.retention = Retention(engine, modules, values, self.queries, keep)
        self.publisher = Publisher(views, lambda: self.many.newest(100))
        self._at_once: Methods = _methods(
            ("put_module", calls.PutModule, self._put_module),
            ("status", calls.Nothing, self._status),
            ("stop", calls.Stop, self._stop_engine),
            ("forget", calls.Forget, self._forget),
            ("tell_runs", TellRuns, self.many.tell),
            ("unwatch", dict[str, int], self._unwatch),
            ("signal", calls.Signal, self.changes.signal),
            ("cancel", calls.Cancel, self.changes.cancel),
            ("terminate", calls.Terminate, self.changes.terminate),
            ("update", calls.Update, self.changes.update),
            ("resume", calls.OfRun, self.changes.resume),
            ("complete", calls.Complete, self.changes.complete),
            ("settle_obligation", calls.SettleObligation, self.changes.settle_obligation),
            ("retry_obligation", calls.RetryObligation, self.changes.retry_obligation),
            ("queues", calls.Nothing, self.queues.all),
            ("change_queue", ChangeQueue, self.queues.change),
            ("drain", DrainWorker, self.queues.drain),
            ("schedules", calls.Nothing, self.schedules.all),
            ("schedule", OfSchedule, self.schedules.one),
            ("change_schedule", ChangeSchedule, self.schedules.change),
        )
        self._of_run: Methods = _methods(
            ("run", calls.OfRun, self._run),
            ("history", calls.GetHistory, self._history),
        )
        self._start_decoder = msgspec.json.Decoder(StartRun)
        self._in_a_task: Methods = _methods(
            ("module", calls.GetModule, self._module),
            ("runs", calls.ListRuns, self.many.runs),
            ("match_runs", MatchRuns, self.many.match),
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
                    first = self._read_only if request.method in _READ else self._load_first
                    tasks.start_soon(self._carefully, client, request.id, first, (params, method))
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
        except Exception as error:
            self._broke(client, request.id, error)

    async def _carefully(self, client: ClientLink, request: int, method: Any, params: Any) -> None:
        """One request's trouble is its own: neither the connection nor the engine ends with it."""
        with anyio.CancelScope() as going:
            self._going[client, request] = going
            try:
                await method(client, request, params)
            except FlowbookError as error:
                client.refuse(request, error)
            except Exception as error:
                self._broke(client, request, error)
            finally:
                # A request may come twice.
                if self._going.get((client, request)) is going:
                    del self._going[client, request]

    def _broke(self, client: ClientLink, request: int, error: Exception) -> None:
        log.exception("a request could not be answered")
        text = f"the engine met a fault of its own: {type(error).__name__}: {error}. {self._home.engine_log} has more."
        client.refuse(request, InternalError(text))

    def _start(self, client: ClientLink, request: int, params: StartRun, tasks: anyio.abc.TaskGroup) -> None:
        if self._modules.is_known(params.module):
            self.changes.start(client, request, params)
        else:
            tasks.start_soon(self._carefully, client, request, self._start_later, params)

    async def _start_later(self, client: ClientLink, request: int, params: StartRun) -> None:
        await self._modules.body(params.module)
        self.changes.start(client, request, params)

    async def _load_first(self, client: ClientLink, request: int, asked: tuple[Any, Any]) -> None:
        params, method = asked
        method(client, request, params, await self._engine.load(params.run))

    async def _read_only(self, client: ClientLink, request: int, asked: tuple[Any, Any]) -> None:
        """A look at a run that is not in memory. Of one that has ended only what is looked at is read."""
        params = asked[0]
        if isinstance(params, calls.GetHistory) and self._engine.runs.is_stored(params.run):
            limit = _page(params)
            records = await anyio.to_thread.run_sync(self._engine.store.history, params.run, params.after, limit)
            client.answer_raw(request, _answered(records))
            return
        if params.run not in self._engine.runs.owing:
            for ended in await anyio.to_thread.run_sync(self._engine.store.ends, [params.run]):
                client.answer(request, summary_of(ended))
                return
        await self._load_first(client, request, asked)

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
        troubles = [text for text in (self._engine.refusal, self._engine.delay, self._engine.clock.notice) if text]
        return calls.Status(
            pid=os.getpid(),
            workers=workers,
            file=str(self._home.database),
            open_runs=len(self._engine.runs.open),
            version=flowbook.__version__,
            home=str(self._home.folder),
            notices=[*self._engine.store.notices, *troubles],
            stopping=self._fleet.leaving,
        )

    def _stop_engine(self, client: ClientLink, request: int, params: calls.Stop) -> None:
        client.answer(request, None)
        self._stop("it was asked to", params.grace)

    def _forget(self, client: ClientLink, request: int, params: calls.Forget) -> None:
        going = self._going.get((client, params.request))
        if going is not None:
            going.cancel()

    def _unwatch(self, client: ClientLink, request: int, params: dict[str, int]) -> None:
        self.publisher.unwatch(client, params.get("watch"))

    # About one run

    def _run(self, client: ClientLink, request: int, params: calls.OfRun, run: LiveRun) -> None:
        client.answer(request, run.summary())

    def _history(self, client: ClientLink, request: int, params: calls.GetHistory, run: LiveRun) -> None:
        end = min(params.after + _page(params), run.committed)
        client.answer_raw(request, _answered(run.records[max(params.after, 0) : end]))

    # In a task

    async def _module(self, client: ClientLink, request: int, params: calls.GetModule) -> None:
        client.answer_raw(request, await self._modules.body(params.digest))

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
                if run.state.closed == "continued" and self._engine.runs.is_known(following(run.id)):
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
            await self.publisher.watch(await self._engine.load(params.run), client, request, params.settled)

    async def _query(self, client: ClientLink, request: int, params: calls.Ask) -> None:
        run = await self._engine.load(self._engine.runs.meant(params.run, "id"))
        client.answer(request, await self.inspections.query(run, params))

    async def _move(self, client: ClientLink, request: int, params: calls.Move) -> None:
        run = await self._engine.load(self._engine.runs.meant(params.run, "id"))
        client.answer(request, await self._moves.move(run, params))

    async def _check_runs(self, client: ClientLink, request: int, params: calls.CheckRuns) -> None:
        client.answer(request, await self._moves.check(params))

    async def _sql(self, client: ClientLink, request: int, params: calls.Query) -> None:
        limit = max(1, min(params.limit, MOST_ROWS))

        def answer(stop: Stop) -> bytes:
            return msgspec.json.encode(self._engine.store.query(params.query, limit, stop))

        client.answer_raw(request, await self.queries.run(answer, params.timeout))


def _answered(records: Sequence[bytes]) -> bytes:
    """As many of them as fit into a frame. Whoever gets fewer than were asked for asks for the rest."""
    return b"[" + b",".join(pieces(records, len)[0]) + b"]"


def _page(params: calls.GetHistory) -> int:
    return min(params.limit, calls.MOST_EVENTS) if params.limit > 0 else calls.MOST_EVENTS
