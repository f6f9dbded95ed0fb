"""What one says to runs, asks them and does about edited code, from Python and the command, with a real engine."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import flowbook
from flowbook.api import connection
from flowbook.errors import (
    HistoryMismatch,
    RunClosed,
    RunConflict,
    RunFailed,
    RunTerminated,
    UpdateFailed,
    UpdateRejected,
    UserError,
)
from tests.end_to_end.project import ROOT, Project

pytestmark = pytest.mark.slow

FLOWS = """
from flowbook import awakeable, continue_as_new, query, saga, shielded, signal, sleep, step, update, workflow


@step
def price(count: int) -> int:
    return count * 2


@workflow
async def cart(count: int = 1):
    items = []

    @query
    def content():
        return list(items)

    @update
    async def add(item: str):
        if item == "anvil":
            raise RuntimeError("too heavy")
        items.append(item)
        return len(items)

    @add.validator
    def _(item):
        if not item:
            raise ValueError("an item has a name")

    total = await price(count)
    paid = await signal("pay")
    return {"items": items, "total": total, "paid": paid}


@workflow
async def counter(n: int = 0, seen: list | None = None):
    seen = seen or []

    @update
    async def note(word: str):
        seen.append(word)
        return len(seen)

    if n == 0:
        await signal("on")
    if n < 2:
        continue_as_new(n + 1, seen)
    await signal("end")
    return seen


@workflow
async def family(close: str = "cancel"):
    child = cart.start(2, id=f"child-{close}", parent_close=close)
    return await child


@workflow
async def long():
    await sleep("1h")


@step
def rent(name: str) -> str:
    return name


@step
def give_back(name: str) -> None:
    with open("ledger.txt", "a") as file:
        file.write(f"gave back {name}\\\\n")


@workflow
async def renting(name: str = "vm"):
    async with saga() as s:
        await s.do(rent, name, undo=give_back)
        await signal("done")


@workflow
async def asking():
    asked = awakeable("a human")

    @query
    def token():
        return asked.token

    return await asked
""".replace("\\\\", "\\")

EDITABLE = """
from flowbook import signal, step, workflow


@step
def first(x: int) -> int:
    return x


@workflow
async def report(x: int = 1):
    a = await first(x)
    await signal("go")
    return a
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One project for all tests here: this process is a client of it, like the command."""
    folder = tmp_path_factory.mktemp("durable")
    made = Project(folder)
    (folder / "durable_flows.py").write_text(FLOWS)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FLOWBOOK_HOME", "PYTHONPATH"):
            patch.setenv(name, made.environment[name])
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        patch.setattr(connection, "_clients", {})
        yield made
        for client in connection._clients.values():
            client.close()
        made("engine", "stop", "--now", code=None)
        sys.modules.pop("durable_flows", None)


@pytest.fixture(scope="module")
def flows(project: Project) -> ModuleType:
    """The workflows, as a script would import them."""
    return importlib.import_module("durable_flows")


def until(check: Callable[[], Any], timeout: float = 20.0) -> Any:
    """Wait for ``check`` to give something true, and give that."""
    deadline = time.monotonic() + timeout
    while not (found := check()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)
    return found


def test_updates_and_queries(flows: ModuleType) -> None:
    run = flows.cart.start(3, id="cart", attributes={"who": "ada"}, memo={"note": [1]})
    assert [run.update("add", "apple"), run.update("add", item="pear")] == [1, 2]
    with pytest.raises(UpdateRejected, match="ValueError: an item has a name"):
        run.update("add", "")
    with pytest.raises(UpdateFailed, match="RuntimeError: too heavy"):
        run.update("add", "anvil")
    with pytest.raises(UpdateRejected, match="add"):
        run.update("add", "too", "many")
    with pytest.raises(UserError, match="no query 'weight'; it answers: content"):
        run.query("weight")
    with pytest.raises(TimeoutError, match="until it has a handler"):
        run.update("sell", timeout="50ms")
    sent = run.start_update("add", "plum", id="plum")
    assert sent.result() == run.start_update("add", "plum", id="plum").result() == 3
    assert run.locals()["items"] == run.query("content") == ["apple", "pear", "plum"]
    assert run.stack[0].function == "cart" and run.stack[0].source.startswith("paid = ")
    assert (run.attributes, run.memo) == ({"who": "ada"}, {"note": [1]})
    assert [[r.id for r in flowbook.runs(attributes={"who": who})] for who in ("ada", "eve")] == [["cart"], []]
    run.signal("pay", "cash")
    assert run.result(20) == {"items": ["apple", "pear", "plum"], "total": 6, "paid": "cash"}
    assert run.query("content") == ["apple", "pear", "plum"] and sent.result() == 3
    with pytest.raises(RunClosed):
        run.update("add", "late")


def test_a_signal_comes_with_the_start(flows: ModuleType) -> None:
    run = flows.cart.start(1, id="paid", signal=("pay", "card"))
    assert run.result(20)["paid"] == "card"


def test_what_a_taken_id_means(flows: ModuleType) -> None:
    first = flows.cart.start(1, id="taken")
    assert flows.cart.start(9, id="taken", on_conflict="use_existing", signal=("x", 1)).id == "taken"
    with pytest.raises(RunConflict):
        flows.cart.start(9, id="taken")
    with pytest.raises(RunConflict, match="already"):
        flows.cart.start(1, id="taken", on_conflict="fail")
    second = flows.cart.start(9, id="taken", on_conflict="terminate_existing")
    assert (second.id, first.status) == ("taken~2", "terminated")
    second.signal("pay")
    assert second.result(20)["total"] == 18
    with pytest.raises(RunConflict, match="has succeeded"):
        flows.cart.start(1, id="taken", on_closed="reject")
    assert flows.cart.start(9, id="taken", on_closed="allow_failed").id == "taken~2"
    third = flows.cart.start(9, id="taken", on_closed="allow")
    assert third.id == "taken~3" and third.terminate("enough") == "terminated"
    with pytest.raises(RunTerminated, match="enough"):
        third.result(20)
    assert third.terminate() == "already done" and first.latest.id == "taken~3"


def test_a_run_that_goes_on_as_new_ones_is_followed(flows: ModuleType, project: Project) -> None:
    run = flows.counter.start(id="counter")
    sent = run.start_update("note", "early", id="u1")
    assert sent.result() == 1
    run.signal("on")
    until(lambda: flowbook.get_run("counter").status == "continued")
    # Asked again, it is the same update, though the run that took it has gone on.
    assert sent.result() == 1 and run.update("note", "late") == 2
    run.signal("end")
    assert run.result(20) == ["early", "late"]
    last = flowbook.get_run("counter~3")
    assert run.latest.id == last.latest.id == last.id
    assert (last.continued.id, flowbook.get_run("counter~2").status) == ("counter~2", "continued")
    assert [found["id"] for found in project.json("runs", "--status", "continued")] == ["counter~2", "counter"]


@pytest.mark.parametrize(("close", "status"), [("cancel", "cancelled"), ("terminate", "terminated")])
def test_what_becomes_of_a_child(flows: ModuleType, close: str, status: str) -> None:
    run = flows.family.start(close)
    (child,) = until(lambda: run.children)
    assert child.parent.id == run.id
    until(lambda: child.status == "waiting")
    run.cancel("no more")
    assert (run.wait(20), child.wait(20)) == ("cancelled", status)


def test_a_childs_result(flows: ModuleType) -> None:
    run = flows.family.start("abandon")
    (child,) = until(lambda: run.children)
    child.signal("pay", 1)
    assert run.result(20) == {"items": [], "total": 4, "paid": 1}


def test_a_run_has_a_time_out(flows: ModuleType) -> None:
    with pytest.raises(RunFailed, match="TimeoutError"):
        flows.long.start(timeout="300ms").result(20)


def test_termination_and_what_is_owed(flows: ModuleType, project: Project) -> None:
    run = flows.renting.start("one", id="renting-1")
    until(lambda: run.status == "waiting")
    (owed,) = run.obligations
    assert (owed["what"], owed["failed"]) == ("undo", False)
    run.terminate("enough")
    assert run.wait(20) == "terminated" and project.ledger() == ["gave back one"]
    other = flows.renting.start("two", id="renting-2")
    until(lambda: other.status == "waiting")
    assert project.json("terminate", "renting-2", "--now", "--reason", "fire")["outcome"] == "terminated"
    left = [(row["run"], row["status"]) for row in project.json("obligations")]
    assert left == [("renting-2", "terminated")] and project.ledger() == ["gave back one"]
    assert [row["run"] for row in flowbook.obligations()] == ["renting-2"]


def test_answers_from_outside(flows: ModuleType, project: Project) -> None:
    run = flows.asking.start()
    token = run.query("token")
    assert "run" in project("complete", token, '{"fine": true}').stdout
    assert run.result(20) == {"fine": True}
    assert "cannot be completed" in project("complete", token, "1", code=2).stderr
    run = flows.asking.start()
    flowbook.fail(run.query("token"), "nobody is in", retryable=False)
    with pytest.raises(RunFailed, match="nobody is in"):
        run.result(20)


def test_the_command(flows: ModuleType, project: Project) -> None:
    options = ["--timeout", "1h", "--attribute", "who=ada", "--detach", "--id", "typed"]
    assert project.json("run", "durable_flows.py:cart", *options)["attributes"] == {"who": "ada"}
    assert project("update", "typed", "add", "nut").stdout == "1\n"
    assert "an item has a name" in project("update", "typed", "add", '""', code=2).stderr
    assert "too heavy" in project("update", "typed", "add", "anvil", code=1).stderr
    refused = project("update", "typed", "add", "null", code=2).stderr
    assert "run 'typed': update 'add': 'item' must be str, not NoneType None" in refused
    assert project("update", "typed", "add", "12").stdout == "2\n"
    assert "it handles: add" in project("update", "typed", "sell", code=2).stderr
    assert project.json("query", "typed", "content") == {"run": "typed", "name": "content", "value": ["nut", "12"]}
    assert "it answers: content" in project("query", "typed", "weight", code=2).stderr
    assert "no run" in project("query", "nobody", "content", code=2).stderr
    assert project.json("locals", "typed")["values"]["items"] == ["nut", "12"]
    assert "is terminated" in project("terminate", "typed").stdout
    assert project.json("watch", "typed", code=1)["status"] == "terminated"
    assert "terminated" in project("update", "typed", "add", "nut", code=2).stderr
    assert project.json("query", "typed", "content")["value"] == ["nut", "12"]


def test_open_runs_and_edited_code(project: Project) -> None:
    file: Path = project.folder / "report.py"
    file.write_text(EDITABLE)
    project("run", file.name, "--id", "report", "--detach")
    run = flowbook.get_run("report")
    until(lambda: run.status == "waiting")
    assert project.json("check", file.name, "--open-runs")["runs"][0]["fit"] == "green"
    file.write_text(EDITABLE.replace("first(x)\n", "first(x + 1)\n"))
    (red,) = project.json("check", file.name, "--open-runs", code=1)["runs"]
    assert (red["fit"], red["step"], red["line"]) == ("red", "first", 12)
    assert "red" in project("move", "report", file.name, code=1).stdout
    with pytest.raises(HistoryMismatch, match="does not fit"):
        run.move_to(file)
    file.write_text(EDITABLE.replace("return x", "return -x").replace("return a", 'return f"mended {a}"'))
    (amber,) = project.json("check", file.name, "--open-runs")["runs"]
    assert (amber["fit"], amber["edited"]) == ("amber", ["first"])
    assert project.json("move", "report", file.name, "--dry-run")["moved"] is False
    fit = run.move_to(file)
    assert (fit.fit, fit.edited) == ("amber", ("first",))
    run.signal("go")
    assert run.result(20) == "mended 1"
    assert "ended" in project("move", "report", file.name, code=2).stderr


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("durable", "was rejected: ValueError: an item has a name"),
        ("steps", "NonRetryable: no such customer"),
    ],
)
def test_the_guides_examples_run(project: Project, page: str, said: str) -> None:
    text = (ROOT / f"docs/guide/{page}.md").read_text()
    blocks = [block.partition("```")[0] for block in text.split("```python\n")[1:]]
    (project.folder / "guide.py").write_text(blocks[0])
    script = "\n".join(blocks[1:])
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode == 0, found.stderr
    assert said in found.stdout
