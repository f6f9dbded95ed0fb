"""What a fork takes over from the run it comes from, and what it runs again, and why; said before it starts.

Pure: a history and two versions of the code in, a table out. Taking the results over is the runtime's work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from flowbook.core import events as e
from flowbook.core.graph import Graph, Node
from flowbook.core.ids import CellId, Seq
from flowbook.core.module import Module, Workflow
from flowbook.core.owing import called_undos, taken_back
from flowbook.errors import UserError

Action = Literal["reuse", "run", "rerun", "new", "gone"]

_OF_STEPS = (
    e.StepStarted,
    e.StepCompleted,
    e.StepReused,
    e.StepAttemptFailed,
    e.StepFailed,
    e.StepSkipped,
    e.MapStarted,
)
_WIRING = ("map", "when", "wait", "loop", "until", "undo")


class ForkRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step, and what is done about it.

    ``reuse`` takes the saved result, ``rerun`` does again what was done, ``run`` does what was not, ``new`` is not in
    the origin's code and ``gone`` not in the new code. The items are those of a mapped step.
    """

    step: str
    action: Action
    reason: str
    cell: CellId = CellId("")
    cell_number: int = 0
    items_reused: int = 0
    items_rerun: int = 0


class ForkPlan(msgspec.Struct, frozen=True):
    """What a fork reuses: ``rows`` in page order.

    ``rerun`` names the steps whose saved results must not be taken; ``seq`` is the last event of the origin that
    anything is taken from.
    """

    rows: tuple[ForkRow, ...]
    rerun: tuple[str, ...]
    seq: Seq


@dataclass
class _Past:
    """What the origin's history says of one step. Times are sequence numbers, 0 for never."""

    first: int = 0
    done: int = 0
    done_in_time: int = 0
    failed: int = 0
    skipped: bool = False
    total: int | None = None
    items: set[int] = field(default_factory=set)


def plan(
    history: Sequence[e.Recorded], parent: Module, new: Module, *, at: int | None = None, step: str | None = None
) -> ForkPlan:
    """Which saved results a fork of this run reuses when it runs ``new`` instead of ``parent``.

    ``step`` runs again, with all that needs it; ``at`` takes only results recorded up to that event.
    Raises UserError for an event or a step that does not exist.
    """
    last = history[-1].seq
    if at is not None and not 1 <= at <= last:
        raise UserError(f"there is no event {at} in this run; its history ends at event {last}")
    seq = last if at is None else Seq(at)
    started = history[0].event
    assert isinstance(started, e.RunStarted)
    before, after = parent.workflow(started.workflow), _same_workflow(new, started.workflow)
    past = _pasts(history, seq)
    nodes = [node for node in after.graph.nodes if node.kind != "params"]
    if step is not None and step not in {node.id for node in nodes}:
        raise UserError(f"there is no step '{step}' to run again; there are: {', '.join(node.id for node in nodes)}")
    old_graph = before.graph if before is not None else Graph()
    undone = _undone(old_graph, past, history)
    undos = called_undos(history) | {node.id for node in after.graph.nodes if node.kind == "undo"}
    causes = _causes(past, parent, new, old_graph, after, set(started.arguments), undone, undos)
    if step is not None:
        causes[step] = "asked for"
    known = {node.id for node in old_graph.nodes}
    if new.cells:
        _spread(causes, {node.id for node in nodes} - known, after.graph)
    else:
        seq = _cut(past, {*causes, *undone}, seq)
        past = _pasts(history, seq)
    rows = [
        _row(node, past.get(node.id), causes.get(node.id, ""), node.id in known, seq, node.id in undos)
        for node in nodes
    ]
    rows += [
        ForkRow(node.id, "gone", "no longer in the code", CellId(node.cell), node.cell_number)
        for node in old_graph.nodes
        if node.kind != "params" and after.graph.node(node.id) is None
    ]
    rerun = [row.step for row in rows if row.step in causes and (row.action == "rerun" or row.step in undos)]
    # A step that only a helper of the workflow calls has no row.
    rerun += sorted(undone.difference(rerun, (node.id for node in nodes)))
    return ForkPlan(tuple(rows), tuple(rerun), seq)


def _same_workflow(module: Module, name: str) -> Workflow:
    found = module.workflow(name)
    if found is None and len(module.workflows) == 1:
        return module.workflows[0]
    if found is None:
        names = ", ".join(w.name for w in module.workflows) or "none"
        raise UserError(f"{module.origin or module.name} has no workflow '{name}'; it has: {names}")
    return found


def _pasts(history: Iterable[e.Recorded], seq: int) -> dict[str, _Past]:
    pasts: dict[str, _Past] = {}
    for recorded in history:
        event = recorded.event
        if not isinstance(event, _OF_STEPS):
            continue
        past = pasts.setdefault(event.step, _Past())
        past.first = past.first or recorded.seq
        match event:
            case e.StepCompleted() | e.StepReused():
                past.done = past.done or recorded.seq
                if recorded.seq <= seq:
                    past.done_in_time = past.done_in_time or recorded.seq
                    past.items |= set() if event.item is None else {event.item}
            case e.StepFailed():
                past.failed = recorded.seq
            case e.StepSkipped():
                past.skipped = recorded.seq <= seq
            case e.MapStarted():
                past.total = event.total
            case _:
                pass
    return pasts


def _causes(
    past: dict[str, _Past],
    parent: Module,
    new: Module,
    old: Graph,
    after: Workflow,
    given: set[str],
    undone: set[str],
    undos: set[str],
) -> dict[str, str]:
    """Steps that must run again on their own account, and why."""
    causes: dict[str, str] = {}
    params = _changed_parameters(parent, new, after, given)
    gone = {node.id for node in old.nodes} - {node.id for node in after.graph.nodes}
    for node in after.graph.nodes:
        previous, history = old.node(node.id), past.get(node.id)
        if node.kind == "params" or previous is None or history is None:
            continue
        changed = sorted(params.intersection(node.reads))
        lost = next((x.source for x in old.edges if x.target == node.id and x.kind == "data" and x.source in gone), "")
        if parent.steps.get(node.id) != new.steps.get(node.id):
            causes[node.id] = "its code changed"
        elif _wiring(previous) != _wiring(node):
            causes[node.id] = "its annotations changed"
        elif changed:
            causes[node.id] = f"the default of '{changed[0]}' changed"
        elif lost:
            causes[node.id] = f"it used '{lost}', which is gone"
        elif node.id in undone:
            causes[node.id] = "it was undone when the run ended"
        elif history.failed and history.total is None and node.id not in undos:
            causes[node.id] = "it failed"
    return causes


def _undone(graph: Graph, past: dict[str, _Past], history: Iterable[e.Recorded]) -> set[str]:
    """Steps whose undo ran: what they made is no longer there, whichever event the fork starts from."""
    undos = {node.id for node in graph.nodes if node.kind == "undo" and node.id in past}
    pairs = [(edge.source, edge.target) for edge in graph.edges if edge.kind == "undo"]
    of_graph = {end for pair in pairs if undos.intersection(pair) for end in pair} - undos
    return of_graph | {owed.work.name for owed in taken_back(history) if owed.work and owed.work != owed.undo}


def _changed_parameters(parent: Module, new: Module, after: Workflow, given: set[str]) -> set[str]:
    before = parent.workflow(after.name)
    if before is None:
        return set()
    defaults = {p["name"]: p.get("default") for p in before.parameters}
    return {
        str(p["name"])
        for p in after.parameters
        if p["name"] in defaults and p["name"] not in given and defaults[p["name"]] != p.get("default")
    }


def _wiring(node: Node) -> tuple[object, ...]:
    return node.reads, node.writes, *(node.options.get(key) for key in _WIRING)


def _spread(causes: dict[str, str], fresh: set[str], graph: Graph) -> None:
    """Everything that needs a step that runs again, or a new one, runs again too."""
    frontier = sorted(set(causes) | fresh)
    while frontier:
        needed = frontier.pop(0)
        for edge in graph.edges:
            if edge.source == needed and edge.kind != "undo" and edge.target not in causes:
                what = "is new" if needed in fresh else "runs again"
                causes[edge.target] = f"it needs '{needed}', which {what}"
                frontier.append(edge.target)


def _cut(past: dict[str, _Past], causes: set[str], seq: Seq) -> Seq:
    """Hand-written code has no graph to trust: what came after the first affected step runs again."""
    first = min((past[name].first for name in causes if name in past), default=seq + 1)
    return Seq(max(1, min(seq, first - 1)))


def _row(node: Node, past: _Past | None, cause: str, known: bool, seq: int, is_undo: bool) -> ForkRow:
    def row(action: Action, reason: str, reused: int = 0, rerun: int = 0) -> ForkRow:
        return ForkRow(node.id, action, reason, CellId(node.cell), node.cell_number, reused, rerun)

    if not known:
        return row("new", "not in the code of the run it comes from")
    if is_undo:
        return row("run", "only if the run has to be undone")
    if past is None:
        return row("run", _not_yet(node))
    items = len(past.items)
    if cause:
        return row("rerun", cause, rerun=past.total or 0)
    if past.total is not None and items < past.total:
        left = past.total - items
        return row("rerun", f"{left} of {past.total} items have no saved result", items, left)
    if past.done_in_time or past.total == 0:
        return row("reuse", "its code and inputs are unchanged", items)
    if past.done:
        return row("rerun", f"it finished after event {seq}")
    if past.skipped:
        return row("run", "its condition is looked at again")
    return row("rerun", "it had not finished")


def _not_yet(node: Node) -> str:
    if node.kind == "wait":
        return "a signal or time that has come is not waited for again"
    return "it was not reached"
