"""Runs that are moved to other code, and what else only a real engine shows: typed arguments, children, lists."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import msgspec
import pytest

import flowbook
from flowbook.api.connection import connect
from flowbook.client import AsyncClient
from flowbook.core.events import RunMoved
from flowbook.core.value import Value
from tests.end_to_end.project import Project
from tests.end_to_end.test_durable import flows, project, until

__all__ = ["flows", "project"]

pytestmark = pytest.mark.slow

SWAYED = """
import os
from flowbook import signal, step, workflow

SWAP = os.path.exists("swap")


@step
def first(x: int) -> int:
    return x


@step
def second(x: int) -> int:
    return -x


@workflow
async def swayed(x: int = 1):
    a = await (second(x) if SWAP else first(x))
    await signal("go")
    return a
"""

TYPED = """
from dataclasses import dataclass
from flowbook import workflow


@dataclass
class Item:
    name: str
    count: int = 1


@workflow
async def buy(item: Item):
    return f"{item.count} {item.name}"
"""


def lose_workers() -> None:
    """Kill every worker of this project, as a crash would."""
    for worker in connect().client.status()["workers"]:
        os.kill(worker["pid"], signal.SIGKILL)


def test_a_paused_run_goes_on_with_mended_code(project: Project) -> None:
    file: Path = project.folder / "swayed.py"
    file.write_text(SWAYED)
    project("run", file.name, "--id", "swayed", "--detach")
    run = flowbook.get_run("swayed")
    until(lambda: run.status == "waiting")
    (project.folder / "swap").touch()
    lose_workers()
    run.signal("go")
    assert run.wait(30) == "paused"
    assert "first" in run.summary["reason"]
    file.write_text(SWAYED.replace("(second(x) if SWAP else first(x))", "first(x)").replace("return a", "return a + 1"))
    assert run.check(file).fit == "green" and run.status == "paused"
    assert project.json("move", "swayed", file.name)["moved"] is True
    assert run.result(20) == 2


def test_the_past_before_a_move_is_shown_in_the_code_of_its_time(project: Project) -> None:
    file: Path = project.folder / "past.py"
    text = SWAYED.replace("swayed", "past").replace("second(x) if SWAP else first(x)", "first(x)")
    file.write_text(text)
    project("run", file.name, "--id", "past", "--detach")
    run = flowbook.get_run("past")
    until(lambda: run.status == "waiting")
    before = run.summary["seq"]
    file.write_text(text.replace('await signal("go")', 'word = await signal("go")').replace("return a", "return word"))
    run.move_to(file)
    moved = until(lambda: [r.seq for r in run.history if isinstance(r.event, RunMoved)])
    assert moved[0] > before
    assert run.at(before).stack[0].source.strip() == 'await signal("go")'
    assert run.stack[0].source.strip() == 'word = await signal("go")'
    run.signal("go", "on")
    assert run.result(20) == "on"
    assert run.at(before).stack[0].source.strip() == 'await signal("go")'


def test_json_becomes_what_annotations_say(project: Project) -> None:
    (project.folder / "typed.py").write_text(TYPED)
    assert project.json("run", "typed.py", "-p", 'item={"name": "nut", "count": 2}')["result"] == "2 nut"
    # Only a worker loads the code that defines Item: the run begins, and fails before any step.
    failed = project.json("run", "typed.py", "-p", 'item={"name": 3}', code=1)
    assert (failed["status"], failed["error"]["step"]) == ("failed", None)
    assert "'item' must be Item" in failed["error"]["message"]


def test_an_abandoned_child_outlives_its_parent(flows: ModuleType, project: Project) -> None:
    run = flows.family.start("abandon", id="left", attributes={"house": "north"})
    (child,) = until(lambda: run.children)
    until(lambda: child.status == "waiting")
    run.cancel("no more")
    assert run.wait(20) == "cancelled" and child.status == "waiting"
    assert [found["id"] for found in project.json("children", "left")] == [child.id]
    assert project.json("show", "left")["children"] == [child.id]
    child.signal("pay", "late")
    assert child.result(20)["paid"] == "late"


def test_runs_are_found_by_label_and_by_sql(flows: ModuleType, project: Project) -> None:
    for who in ("ada", "bob"):
        flows.cart.start(1, id=f"of-{who}", attributes={"who": who, "tier": 3}, signal=("pay", 1)).result(20)

    def ids(*options: str) -> list[str]:
        return [found["id"] for found in project.json("runs", *options)]

    assert ids("--attribute", "who=ada") == ["of-ada"]
    assert ids("--attribute", "tier=3") == ["of-bob", "of-ada"]
    assert ids("--attribute", "tier=3", "--limit", "1") == ["of-bob"]
    assert ids("--attribute", "tier=3", "--where", "id like '%ada'", "--status", "succeeded") == ["of-ada"]
    assert ids("--attribute", "tier=3", "--status", "failed") == []
    assert "nope" in project("runs", "--where", "nope = 1", code=2).stderr


def test_the_same_awaited(flows: ModuleType, project: Project) -> None:
    run = flows.cart.start(1, id="awaited")

    async def use() -> list[Any]:
        text = Value(codec="json", data=msgspec.Raw(b'"fig"'))
        with anyio.fail_after(30):
            async with AsyncClient(project.folder / ".flowbook") as client:
                added = await client.update("awaited", "add", (text,), id="u1")
                again = await client.update_result("awaited", "u1", "add")
                asked = await client.query("awaited", "content")
                ended = await client.terminate("awaited", "enough")
                final = await client.wait("awaited", 20)
                return [added["status"], again["value"], bytes(asked.data), ended["outcome"], final["status"]]

    status, value, content, outcome, final = anyio.run(use)
    assert (status, bytes(value.data), content) == ("completed", b"1", b'["fig"]')
    assert (outcome, final, run.status) == ("terminated", "terminated", "terminated")
