"""A new run from a past one: plan it, show the plan, start it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbook.api.connection import Connection, new_id
from flowbook.core import events as e
from flowbook.core.forkplan import ForkPlan, ForkRow, plan
from flowbook.core.module import Module
from flowbook.errors import UserError

if TYPE_CHECKING:
    from flowbook.api.started import Run
    from flowbook.wire.calls import Summary

WORDS = {"reuse": "reused", "run": "runs", "rerun": "runs again", "new": "runs (new)", "gone": "gone"}


class Plan:
    """What a fork will do, step by step; shows as a table."""

    def __init__(self, run: str, inner: ForkPlan, module: Module) -> None:
        self.run = run
        self.inner = inner
        self.module = module

    @property
    def rows(self) -> tuple[ForkRow, ...]:
        """One row for every step."""
        return self.inner.rows

    def __repr__(self) -> str:
        rows = [(row.step, _word(row), f"cell {row.cell_number}" if row.cell else "", row.reason) for row in self.rows]
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
        head = f"fork of {self.run} from event {self.inner.seq}"
        body = ["  " + "  ".join([*(c.ljust(w) for c, w in zip(row[:3], widths, strict=True)), row[3]]) for row in rows]
        return "\n".join([head, *(line.rstrip() for line in body)])


class Fork:
    """Call it to start the fork; ``plan`` says beforehand what is reused, what runs, and why."""

    def __init__(self, run: str, connection: Connection, held: Callable[[str], Run[Any]]) -> None:
        self._run = run
        self._connection = connection
        self._held = held

    def plan(
        self,
        *,
        at: int | None = None,
        step: str | None = None,
        source: str | Path | Module | None = None,
        notebook: str | Path | None = None,
    ) -> Plan:
        """Which steps are reused and which run. Starts nothing.

        ``at`` takes only what was recorded up to that event; ``step`` runs again, with all that needs it. The new
        code is ``notebook`` or ``source`` (a file or a module); by default the run's own file as it is now.
        """
        history = self._connection.client.history(self._run)
        parent = self._connection.client.module(_started(history).module)
        new = self._code(source if source is not None else notebook, parent)
        return Plan(self._run, plan(history, parent, new, at=at, step=step), new)

    def __call__(
        self,
        *,
        at: int | None = None,
        step: str | None = None,
        source: str | Path | Module | None = None,
        notebook: str | Path | None = None,
        id: str | None = None,
        name: str = "",
    ) -> Run[Any]:
        """Start the new run and give it; where somebody is looking, the plan is shown first."""
        planned = self.plan(at=at, step=step, source=source, notebook=notebook)
        if "IPython" in sys.modules or hasattr(sys, "ps1"):
            sys.stdout.write(f"{planned!r}\n")
        return self.start(planned, id=id, name=name)

    def start(self, planned: Plan, *, id: str | None = None, name: str = "") -> Run[Any]:
        """Start what was planned."""
        return self._held(self.launch(planned, id=id, name=name)["id"])

    def launch(self, planned: Plan, *, id: str | None = None, name: str = "") -> Summary:
        """Start what was planned; gives the new run's summary."""
        client = self._connection.client
        started = _started(client.history(self._run, 0, 1))
        workflow = planned.module.workflow(started.workflow) or planned.module.workflows[0]
        known = {str(parameter["name"]) for parameter in workflow.parameters}
        client.put_module(planned.module)
        return client.start(
            id or new_id(workflow.name),
            workflow.name,
            planned.module.digest,
            started.place,
            {key: value for key, value in started.arguments.items() if key in known},
            name=name or started.name,
            source=planned.module.origin,
            origin=e.Origin(started.run, planned.inner.seq, planned.inner.rerun),
            seed=started.seed,
        )

    def _code(self, source: str | Path | Module | None, parent: Module) -> Module:
        from flowbook.api.source import load

        if isinstance(source, Module):
            return source
        if source is not None:
            return load(source)[0]
        if parent.origin and Path(parent.origin).is_file():
            return load(parent.origin)[0]
        return parent


def _started(history: list[e.Recorded]) -> e.RunStarted:
    first = history[0].event
    if not isinstance(first, e.RunStarted):
        raise UserError("this run's history does not begin with its start, so it cannot be forked")
    return first


def _word(row: ForkRow) -> str:
    word = WORDS[row.action]
    if row.items_reused and row.items_rerun:
        return f"{word} ({row.items_rerun} of {row.items_reused + row.items_rerun})"
    return word
