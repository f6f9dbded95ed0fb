"""What a fork reuses and what it runs again: one table row per situation."""

from __future__ import annotations

import pytest

from flowbook.core import events as e
from flowbook.core.failure import Failure
from flowbook.core.forkplan import plan
from flowbook.core.graph import Edge, Graph, Node
from flowbook.core.ids import CellId, Digest, Key, RunId, Seq
from flowbook.core.module import Cell, Module, Workflow
from flowbook.core.value import NOTHING
from flowbook.errors import UserError

PLACE = e.Place("/project", "python")
NODES = ("load", "clean", "train", "report")


def module(
    changed: str = "", nodes: tuple[str, ...] = NODES, cells: bool = True, default: str = "1", options: str = ""
) -> Module:
    """load -> clean -> train and load -> report; ``changed`` has other code, ``options`` another ``when``."""
    made = [Node("params", kind="params", writes=("since",))] + [
        Node(
            name,
            cell=f"c-{name}",
            cell_number=number,
            reads=("since",) if name == "load" else (),
            options={"when": "total > 1"} if name == options else {},
        )
        for number, name in enumerate(nodes, 2)
    ]
    pairs = [("params", "load"), ("load", "clean"), ("clean", "train"), ("load", "report")]
    if "extra" in nodes:
        pairs += [("extra", "train")]
    edges = tuple(Edge(a, b) for a, b in pairs if {a, b} <= {*nodes, "params"})
    steps = {name: Digest(f"{name}-{'new' if name == changed else 'old'}") for name in nodes}
    flow = Workflow("flow", Graph(tuple(made), edges), ({"name": "since", "annotation": "", "default": default},))
    return Module(
        Digest("m" + changed),
        "flow",
        "",
        (flow,),
        steps,
        cells=(Cell(CellId("c"), 1, ""),) if cells else (),
    )


def history(*facts: e.AnyEvent) -> list[e.Recorded]:
    """RunStarted, then the facts."""
    first = e.RunStarted(RunId("r"), "flow", Digest("m"), PLACE)
    return [e.Recorded(Seq(n), float(n), fact) for n, fact in enumerate((first, *facts), 1)]


def done(step: str, item: int | None = None) -> e.StepCompleted:
    """The step returned."""
    return e.StepCompleted(Key(f"{step}{'' if item is None else item}"), step, NOTHING, item=item)


def failed(step: str) -> e.StepFailed:
    """The step's last attempt failed."""
    return e.StepFailed(Key(step), step, Failure("ValueError", "no"))


ALL = history(done("load"), done("clean"), done("report"), done("train"))
BROKEN = history(done("load"), done("report"), done("clean"), failed("train"))

CASES = {
    "nothing changed": (ALL, module(), {}, "reuse reuse reuse reuse"),
    "failed step runs again": (BROKEN, module(), {}, "reuse reuse rerun reuse"),
    "changed and what needs it": (ALL, module(changed="clean"), {}, "reuse rerun rerun reuse"),
    "the first changed": (ALL, module(changed="load"), {}, "rerun rerun rerun rerun"),
    "forced": (ALL, module(), {"step": "clean"}, "reuse rerun rerun reuse"),
    "only up to an event": (ALL, module(), {"at": 3}, "reuse reuse rerun rerun"),
    "not reached": (history(done("load")), module(), {}, "reuse run run run"),
    "interrupted": (history(done("load"), e.StepStarted(Key("clean"), "clean")), module(), {}, "reuse rerun run run"),
    "skipped": (
        history(done("load"), e.StepSkipped(Key("clean"), "clean"), done("report")),
        module(),
        {},
        "reuse run run reuse",
    ),
    "an annotation changed": (ALL, module(options="report"), {}, "reuse reuse reuse rerun"),
    "a parameter's default changed": (ALL, module(default="2"), {}, "rerun rerun rerun rerun"),
    "hand-written: what came after": (
        ALL,
        module(changed="clean", cells=False),
        {},
        "reuse rerun rerun rerun",
    ),
    "hand-written: forced last": (ALL, module(cells=False), {"step": "train"}, "reuse reuse rerun reuse"),
}


@pytest.mark.parametrize("case", CASES)
def test_actions_in_page_order(case: str) -> None:
    past, new, asked, expected = CASES[case]
    parent = module(cells=bool(new.cells))
    assert " ".join(row.action for row in plan(past, parent, new, **asked).rows) == expected


def test_reasons_name_what_is_needed() -> None:
    rows = {row.step: row for row in plan(ALL, module(), module(changed="clean")).rows}
    assert rows["clean"].reason == "its code changed"
    assert rows["train"].reason == "it needs 'clean', which runs again"
    assert rows["load"].cell == "c-load" and rows["load"].cell_number == 2


def test_rerun_and_seq_are_what_the_engine_needs() -> None:
    found = plan(ALL, module(), module(), step="clean")
    assert found.rerun == ("clean", "train") and found.seq == 5
    assert plan(ALL, module(), module(), at=3).seq == 3
    assert plan(ALL, module(cells=False), module(changed="clean", cells=False)).seq == 2


def test_new_and_gone_steps() -> None:
    new = module(nodes=("load", "extra", "clean", "train"))
    found = {row.step: row for row in plan(ALL, module(), new).rows}
    assert [found[name].action for name in ("load", "extra", "clean", "train", "report")] == [
        "reuse",
        "new",
        "reuse",
        "rerun",
        "gone",
    ]
    assert found["train"].reason == "it needs 'extra', which is new"


def test_finished_items_of_a_failed_map_are_kept() -> None:
    past = history(done("load"), e.MapStarted(Key("clean"), "clean", 3), done("clean", 0), done("clean", 2))
    row = plan(past, module(), module()).rows[1]
    assert (row.action, row.items_reused, row.items_rerun) == ("rerun", 2, 1)
    row = plan(past, module(), module(changed="clean")).rows[1]
    assert (row.items_reused, row.items_rerun) == (0, 3)


def test_what_was_undone_runs_again() -> None:
    graph = Graph(
        (Node("create"), Node("check"), Node("delete", kind="undo")),
        (
            Edge("create", "check"),
            Edge("create", "delete", kind="undo"),
        ),
    )
    code = Module(Digest("m"), "flow", "", (Workflow("flow", graph),), cells=(Cell(CellId("c"), 1, ""),))
    past = history(done("create"), failed("check"), done("delete"))
    rows = plan(past, code, code).rows
    assert [row.action for row in rows[:2]] == ["rerun", "rerun"]
    assert rows[0].reason == "it was undone when the run ended"


def owing(outcome: str) -> list[e.Recorded]:
    """Of a saga that made a machine and charged for it, which failed where the machine was undone or is still owed."""
    owes = e.ObligationOpened(
        Key("o"), "delete", work=e.StepRef("create"), begins=Key("create"), undo=e.StepRef("delete")
    )
    ends: dict[str, tuple[e.AnyEvent, ...]] = {
        "kept": (done("charge"), e.ObligationSettled(Key("o"), "kept"), done("delete")),
        "undone": (failed("charge"), done("delete"), e.ObligationSettled(Key("o"), "undone")),
        "failed": (failed("charge"), failed("delete"), e.ObligationFailed(Key("o"), Failure("OSError", "no"))),
    }
    return history(owes, done("create"), *ends[outcome])


BY_HAND = Module(
    Digest("m"),
    "flow",
    "",
    (Workflow("flow", Graph((Node("create"), Node("delete"), Node("charge")), (Edge("create", "charge"),))),),
)


@pytest.mark.parametrize(
    ("outcome", "asked", "actions", "rerun", "seq"),
    [
        ("kept", {}, "reuse reuse reuse", (), 6),
        ("undone", {}, "rerun run rerun", ("create", "charge"), 2),
        ("undone", {"at": 3}, "rerun run rerun", ("create", "charge"), 2),
        ("failed", {}, "reuse run rerun", ("charge",), 3),
    ],
)
def test_what_a_saga_undid_runs_again_and_undos_only_where_they_have_to(
    outcome: str, asked: dict[str, int], actions: str, rerun: tuple[str, ...], seq: int
) -> None:
    found = plan(owing(outcome), BY_HAND, BY_HAND, **asked)
    assert " ".join(row.action for row in found.rows) == actions
    assert (found.rerun, found.seq) == (rerun, seq)
    if outcome != "kept":
        assert found.rows[1].reason == "only if the run has to be undone"


def test_what_a_helper_made_and_was_undone_runs_again_without_a_row() -> None:
    unseen = Module(Digest("m"), "flow", "", (Workflow("flow", Graph((Node("charge"),))),))
    found = plan(owing("undone"), unseen, unseen)
    assert found.rerun == ("charge", "create") and found.seq == 2


@pytest.mark.parametrize(("asked", "says"), [({"at": 99}, "no event 99"), ({"step": "nope"}, "no step 'nope'")])
def test_mistakes_are_named(asked: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        plan(ALL, module(), module(), **asked)
