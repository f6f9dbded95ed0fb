"""Open runs and other code: which would go on with it, and having them do so. Nothing moves that does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import msgspec

from flowbook.core.events import StepCompleted, StepReused
from flowbook.core.ids import Digest, Key
from flowbook.core.messages import AnyMessage, MoveRun, WorkerLost
from flowbook.core.module import Module
from flowbook.engine.engine import Engine
from flowbook.engine.inspections import Inspections
from flowbook.engine.modules import Modules
from flowbook.engine.runs import LiveRun
from flowbook.engine.told import Told
from flowbook.errors import FlowbookError, HistoryMismatch, RunClosed
from flowbook.store.base import decode_recorded
from flowbook.wire import calls

_decode = msgspec.json.Decoder(Module).decode


class Moves:
    """Checks and moves; both re-execute the run in one of its workers."""

    def __init__(self, engine: Engine, modules: Modules, inspections: Inspections) -> None:
        self._engine = engine
        self._modules = modules
        self._inspections = inspections

    async def check(self, asked: calls.CheckRuns) -> list[calls.Fit]:
        """How each open run fits; without names, those that came from the module's file or have its name."""
        module = _decode(await self._modules.body(asked.module))
        runs = self._engine.runs.open
        named = [self._engine.runs.meant(run, "id") for run in asked.runs]
        chosen = [runs[run] for run in named if run in runs] if named else self._concerned(module)
        return [(await self._fit(run, module))[0] for run in chosen]

    def _concerned(self, module: Module) -> list[LiveRun]:
        names = {workflow.name for workflow in module.workflows}
        origin = module.origin
        return [
            run
            for run in self._engine.runs.open.values()
            if (run.state.source == origin if origin and run.state.source else run.state.workflow in names)
        ]

    async def move(self, run: LiveRun, asked: calls.Move) -> calls.Fit:
        """Have the run go on with other code. Raises HistoryMismatch with the difference where it does not fit."""
        if run.state.closed:
            raise RunClosed(f'run "{run.id}" {run.state.ending}, so it cannot be moved; fork it instead.')
        module = _decode(await self._modules.body(asked.module))
        while True:
            checked = run.committed
            fit, names = await self._fit(run, module)
            if fit["fit"] == "red":
                raise HistoryMismatch(f'run "{run.id}" does not fit this code: {fit["reason"]}', fit["difference"])
            if run.committed == checked:
                break
        messages: list[AnyMessage] = [MoveRun(asked.module, source=asked.source, names=names)]
        if run.holder is not None:
            # What it has running there is given up, and begun again by the new code.
            moved = "the run was moved to other code"
            messages.insert(0, WorkerLost(run.holder.worker, moved, own=True, planned=True))
        try:
            await self._decided(run, messages)
        except RunClosed:
            heir = self._engine.runs.meant(run.id, "heir")
            if heir == run.id:
                raise
            # It went on meanwhile: what it is now is another history, which has to fit as well.
            return await self.move(await self._engine.load(heir), asked)
        return fit

    async def _decided(self, run: LiveRun, messages: Sequence[AnyMessage]) -> None:
        """Have it decided. Raises what it is refused with."""
        decided = anyio.Event()
        refusals: list[FlowbookError] = []

        def answer(run: LiveRun | None, error: FlowbookError | None) -> None:
            if error is not None:
                refusals.append(error)
            decided.set()

        self._engine.tell(Told(run.id, messages, answer))
        await decided.wait()
        if refusals:
            raise refusals[0]

    async def _fit(self, run: LiveRun, module: Module) -> tuple[calls.Fit, dict[Key, Key]]:
        """How the run fits, and the module's keys for what its history knows by others."""
        made = calls.Fit(run=run.id, fit="green", edited=[], reason="", difference={})
        if module.workflow(run.state.workflow) is None:
            reason = f"the code has no workflow '{run.state.workflow}' any more"
            return calls.Fit(**{**made, "fit": "red", "reason": reason}), {}
        found = await self._inspections.fit(run, module.digest)
        if found.error:
            difference = {**found.difference, **await self._place(run, found.difference)}
            return calls.Fit(**{**made, "fit": "red", "reason": found.error, "difference": difference}), {}
        edited = await self._edited(run, module)
        edited += [f"the timer of line {line} (it keeps its time)" for line in found.timers]
        return calls.Fit(**{**made, "fit": "amber" if edited else "green", "edited": edited}), found.names

    async def _place(self, run: LiveRun, difference: dict[str, Any]) -> dict[str, Any]:
        """Cell and line, in the run's own code, of the command the history has and the new code has not."""
        key = Key(str(difference.get("key", "")))
        for record in run.records:
            event = decode_recorded(record).event
            if getattr(event, "key", None) == key and getattr(event, "site", 0):
                line = int(getattr(event, "site", 0))
                place = _decode(await self._modules.body(run.state.module)).locate(line)
                return {"line": line} if place is None else {"cell": place[0], "line": place[1]}
        return {}

    async def _edited(self, run: LiveRun, module: Module) -> list[str]:
        """Steps whose results the run has, and whose code is another one now."""
        try:
            pinned = _decode(await self._modules.body(run.state.module))
        except FlowbookError:
            return []
        done = {
            event.step
            for event in (decode_recorded(record).event for record in run.records)
            if isinstance(event, StepCompleted | StepReused)
        }
        before: dict[str, Digest] = pinned.steps
        return sorted(step for step in done if step in before and before[step] != module.steps.get(step))
