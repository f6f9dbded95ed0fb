"""Runs that leave as files and come back: ``export_run`` and ``import_run``. The file itself is ``store.archive``'s."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import anyio.to_thread
import msgspec

import flowbook
from flowbook.core.decide import decide
from flowbook.core.events import AnyEvent, Place, Recorded, RunMoved, RunPaused, RunStarted
from flowbook.core.evolve import evolve
from flowbook.core.ids import RunId, Seq
from flowbook.core.messages import WorkerLost
from flowbook.core.state import RunState
from flowbook.engine import hindsight
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
            for _, event in hindsight.scheduled(run):
                self._engine.queues.note(run, event)
            self._engine.queues.act()
            self._engine.arm(run)
        self._engine.publication.note(arrived.group.entries)
        client.answer(request, run.summary())

    def _refuse_known(self, run: RunId) -> None:
        if self._engine.runs.get(run) is not None or self._engine.runs.is_stored(run):
            raise RunConflict(
                f'run "{run}" is here already. Import it under another id with --as (in Python: id=); '
                "nothing was imported."
            )


def _read(params: ImportRun, values: ValueFiles, refuse_known: object, now: float) -> _Arrived:
    path = Path(params.path)
    with archive.opened(path) as file:
        called = RunId(params.id or file.manifest.run)
        if not called or called.startswith("$"):
            raise UserError(f'"{called}" cannot be the called of a run.')
        assert callable(refuse_known)
        refuse_known(called)
        group, state, records = Group(), RunState(), []
        for recorded in file.records():
            kept = _at_home(recorded, called, params.place)
            group.entries.append(entry(called, kept))
            records.append(group.entries[-1].record)
            evolve(state, kept)
        group.modules = [stored_module(module) for module in file.modules()]
        file.take_values(values)
        for event in _laid_down(state, _reason(path, file.manifest, called), now):
            group.add(called, Seq(state.seq + 1), max(now, state.time), event)
            records.append(group.entries[-1].record)
            evolve(state, group.entries[-1].recorded)
    return _Arrived(group, LiveRun(called, records))


def _at_home(recorded: Recorded, id: RunId, place: Place) -> Recorded:
    """The event as it is here: code runs in this place, and no parent, schedule or child is told of anything."""
    event = recorded.event
    if isinstance(event, RunStarted):
        event = msgspec.structs.replace(event, run=id, place=place, parent=None, schedule="", children={})
    elif isinstance(event, RunMoved):
        event = msgspec.structs.replace(event, place=place)
    else:
        return recorded
    return Recorded(recorded.seq, recorded.time, event)


def _laid_down(state: RunState, reason: str, now: float) -> Iterator[AnyEvent]:
    """What happens to an open run: the workers that ran its steps are elsewhere, and it is paused."""
    workers = sorted({live.worker for live in state.steps.values() if live.running and not live.waiting})
    for worker in workers:
        yield from list(decide(state, WorkerLost(worker, "its run was taken elsewhere"), now))
    if not state.closed:
        # Also where it was paused before: this is the reason people are to read.
        yield RunPaused(reason=reason)


def _reason(path: Path, manifest: archive.Manifest, id: RunId) -> str:
    called = "" if manifest.run == id else f', where it is "{manifest.run}"'
    return (
        f"it was imported from {path.name}{called}. Make sure that it does not go on where it comes from as well; "
        f"`flowbook resume {id}` goes on here"
    )
