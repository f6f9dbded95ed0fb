"""Runs that leave as files and come back: ``export_run`` and ``import_run``. The file itself is ``store.archive``'s.

Other runs that an imported one names are those of the project it comes from. Where a run here has the same id, it is
another one: so links are cut, and what was awaited from there has failed.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import anyio.to_thread
import msgspec

import flowbook
from flowbook.core.chains import check_new_id
from flowbook.core.decide import decide
from flowbook.core.events import AnyEvent, Place, Recorded, RunContinued, RunMoved, RunPaused, RunStarted
from flowbook.core.evolve import evolve
from flowbook.core.failure import Failure
from flowbook.core.ids import RunId, Seq
from flowbook.core.messages import ChildEnded, SignalDelivered, WorkerLost
from flowbook.core.state import RunState
from flowbook.engine.engine import Engine
from flowbook.engine.links import ClientLink
from flowbook.engine.runs import LiveRun
from flowbook.errors import RunConflict, UserError
from flowbook.store import archive
from flowbook.store.base import Group, entry, stored_module
from flowbook.store.values import ValueFiles
from flowbook.wire.history import ExportRun, ImportRun

PAGE = 1000
"""Events read from the store at a time."""


class _Arrived(NamedTuple):
    group: Group
    run: LiveRun


class Archives:
    """The two calls."""

    def __init__(self, engine: Engine, values: ValueFiles) -> None:
        self._engine = engine
        self._values = values

    async def export(self, client: ClientLink, request: int, params: ExportRun) -> None:
        """Write a run to a file; answers the manifest."""
        run = self._engine.runs.get(params.run)
        if run is None and not self._engine.runs.is_stored(params.run):
            run = await self._engine.load(params.run)
        # The list only grows; what is uncommitted now is not part of the file.
        records = self._stored(params.run) if run is None else iter(run.records[: run.committed])
        manifest = await anyio.to_thread.run_sync(
            archive.write,
            Path(params.path),
            params.run,
            flowbook.__version__,
            records,
            self._engine.store.module,
            self._values,
        )
        client.answer(request, manifest)

    def _stored(self, run: RunId) -> Iterator[bytes]:
        after = 0
        while page := self._engine.store.history(run, after, PAGE):
            yield from page
            after += len(page)

    async def take_in(self, client: ClientLink, request: int, params: ImportRun) -> None:
        """Take a run in from a file; answers its summary."""
        now = self._engine.clock.now()
        arrived = await anyio.to_thread.run_sync(_read, params, self._values, self._refuse_known, now)
        run, runs = arrived.run, self._engine.runs
        # From here on nothing else happens in between.
        self._refuse_known(run.id)
        self._engine.store.commit(arrived.group)
        self._engine.committed.set()
        if run.state.closed:
            runs.take_in(run)
        else:
            runs.add(run)
            self._engine.queues.take_in(run)
            self._engine.arm(run)
        self._engine.publication.note(arrived.group.entries)
        client.answer(request, run.summary())

    def _refuse_known(self, run: RunId) -> None:
        if self._engine.runs.get(run) is not None or self._engine.runs.is_stored(run):
            raise RunConflict(
                f'run "{run}" is here already. Import it under another id with --as (in Python: id=); '
                "nothing was imported."
            )


def _read(params: ImportRun, values: ValueFiles, refuse_known: Callable[[RunId], None], now: float) -> _Arrived:
    path = Path(params.path)
    with archive.opened(path) as file:
        called = RunId(params.id or file.manifest.run)
        _check_called(called, path, bool(params.id))
        refuse_known(called)
        group, state, records = Group(), RunState(), []
        for recorded in file.records():
            kept = _at_home(recorded, called, params.place)
            group.entries.append(entry(called, kept))
            records.append(group.entries[-1].record)
            evolve(state, kept)
        group.modules = [stored_module(module) for module in file.modules()]
        file.take_values(values)
        for event in _laid_down(state, _reason(path, file.manifest, called, state), now):
            group.add(called, Seq(state.seq + 1), max(now, state.time), event)
            records.append(group.entries[-1].record)
            evolve(state, group.entries[-1].recorded)
    return _Arrived(group, LiveRun(called, records))


def _check_called(called: RunId, path: Path, is_chosen: bool) -> None:
    """Raises UserError where no run of this project can be given this id."""
    try:
        check_new_id(called)
    except UserError as error:
        hint = "" if is_chosen else f" It is called so in {path.name}; import it under another id with --as."
        raise UserError(f"{error}{hint} Nothing was imported.") from None


def _at_home(recorded: Recorded, id: RunId, place: Place) -> Recorded:
    """The event as it is here: code runs in this place; other runs and schedules that it names are none of ours."""
    event = recorded.event
    if isinstance(event, RunStarted):
        original = event.original or (event.run if event.run != id else RunId(""))
        event = msgspec.structs.replace(
            event,
            run=id,
            original=original,
            place=place,
            parent=None,
            schedule="",
            continued=RunId(""),
            origin=None,
            children={},
        )
    elif isinstance(event, RunMoved):
        event = msgspec.structs.replace(event, place=place)
    elif isinstance(event, RunContinued):
        event = msgspec.structs.replace(event, run=RunId(""))
    else:
        return recorded
    return Recorded(recorded.seq, recorded.time, event)


def _laid_down(state: RunState, reason: str, now: float) -> Iterator[AnyEvent]:
    """What happens to an open run, which is paused: its steps' workers and the runs it waits for are elsewhere."""
    workers = sorted({live.worker for live in state.steps.values() if live.running and not live.waiting})
    for worker in workers:
        yield from list(decide(state, WorkerLost(worker, "its run was taken elsewhere"), now))
    for key, child in list(state.children.items()):
        yield from list(decide(state, ChildEnded(key, child.run, failure=_left_behind(f"child run {child.run}")), now))
    for key, owed in list(state.obligations.items()):
        if owed.trying:
            failure = _left_behind(f"run {owed.trying}, which tried to take it back,")
            yield from list(decide(state, ChildEnded(key, owed.trying, failure=failure), now))
    for key in list(state.sending):
        yield from list(decide(state, SignalDelivered(key, _left_behind("the run that the signal is for")), now))
    if not state.closed:
        # Also where it was paused before: this is the reason people are to read.
        yield RunPaused(reason=reason)


def _left_behind(what: str) -> Failure:
    return Failure(type="LeftBehind", message=f"{what} stayed where this run was imported from", retryable=False)


def _reason(path: Path, manifest: archive.Manifest, id: RunId, state: RunState) -> str:
    called = "" if manifest.run == id else f', where it is "{manifest.run}"'
    left = sorted(child.run for child in state.children.values())
    behind = f"Child runs that it waits for stayed there and have failed for it: {', '.join(left)}. " if left else ""
    return (
        f"it was imported from {path.name}{called}. {behind}Make sure that it does not go on where it comes from as "
        f"well; `flowbook resume {shlex.quote(id)}` goes on here"
    )
