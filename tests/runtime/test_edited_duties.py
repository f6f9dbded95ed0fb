"""Code that is edited while a run owes something outside: what is owed is taken back all the same, and the same."""

from __future__ import annotations

import pytest

from flowbook.core import events as e
from flowbook.core.ids import Digest, RunId
from flowbook.core.keys import idempotency_key
from flowbook.runtime.execution import Execution
from tests.runtime.cloud import obligations, turns_until
from tests.runtime.driver import Driver, load, save
from tests.runtime.test_edits import loaded

BEFORE = """
from flowbook import operation, saga, sleep, step, workflow

@step
def create(name): return "vm"

@step
def ready(vm): return False

@step
def delete(vm): pass

asked = []

@step
def gone(vm):
    asked.append(vm)
    return len(asked) % 2 == 0

@step
def bad(): raise ValueError("no")

@workflow
async def block():
    name = "a"
    async with saga() as s:
        await s.do(create, name, undo=delete)
        await bad()

@workflow
async def start():
    name = "a"
    return await operation(create, name, poll=ready, every="10s", timeout="1m", cancel=delete, confirm=gone)
"""


def edited(source: str) -> str:
    """With another name for what is given to ``create``: its call is the same, and its key another."""
    return source.replace("name = ", "who = ").replace("create, name", "create, who")


def moved(driver: Driver, *, names: bool, source: str = edited(BEFORE)) -> None:
    """The run goes on with the edited code: after a move, where the ``names`` it found are recorded, or beside one."""
    driver.execution.close()
    workflow = loaded(source).workflow(driver.workflow.name)
    checked = Execution(workflow, save=save, load=load, view=names)
    checked.matching.allow_edits()
    checked.begin(driver.history)
    if names:
        checked.close()
        driver._record(e.RunMoved(module=Digest("new"), names=checked.matching.renaming))
        driver.workflow = workflow
        checked = driver._activate()
    driver.execution, driver.calls = checked, []


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize("flow", ["block", "start"])
def test_an_undo_goes_on_where_its_run_is_moved_and_then_terminated(flow: str, names: bool) -> None:
    driver = Driver(loaded(BEFORE).workflow(flow))
    turns_until(driver, lambda: any(call.command.step.name == "delete" for call in driver.execution.calls))
    (call,) = driver.execution.calls
    driver._record(e.StepStarted(key=call.key, step="delete"))
    moved(driver, names=names)
    driver.mailbox.append(e.TerminateRequested())
    assert isinstance(driver.run(), e.RunTerminated)
    assert obligations(driver)[-1] == ("undone" if flow == "block" else "cancelled")


def test_so_does_the_wait_until_it_is_confirmed() -> None:
    driver = Driver(loaded(BEFORE).workflow("start"))
    turns_until(driver, lambda: "gone" in driver.executed and driver.kinds()[-1] == "TimerStarted")
    moved(driver, names=True)
    driver.mailbox.append(e.TerminateRequested())
    assert isinstance(driver.run(), e.RunTerminated)
    assert obligations(driver)[-1] == "cancelled"


def start_key(driver: Driver) -> str:
    """By what the call that began it is known outside."""
    (key,) = (r.event.key for r in driver.history if isinstance(r.event, e.StepCompleted) and r.event.step == "create")
    return idempotency_key(RunId("run"), key)


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize("flow", ["block", "start"])
@pytest.mark.parametrize("since", ["ObligationOpened", "StepCompleted"])
def test_what_takes_back_is_given_the_key_that_the_step_was_called_with(flow: str, names: bool, since: str) -> None:
    """The edit comes between what is owed and its step, or after that."""
    before = BEFORE.replace("delete(vm):", "delete(result, *, idempotency_key):")
    driver = Driver(loaded(before).workflow(flow))
    turns_until(driver, lambda: driver.kinds()[-1] == since)
    moved(driver, names=names, source=edited(before))
    opened = next(r.event for r in driver.history if isinstance(r.event, e.ObligationOpened))
    turns_until(driver, lambda: "create" in driver.executed)
    driver.mailbox.append(e.CancelRequested())
    turns_until(driver, lambda: any(call.command.step.name == "delete" for call in driver.execution.calls))
    (call,) = (call for call in driver.execution.calls if call.command.step.name == "delete")
    key = {**dict(zip(call.command.step.parameters, call.command.arguments, strict=False)), **call.command.keywords}
    assert key["idempotency_key"] == start_key(driver) == idempotency_key(RunId("run"), opened.begins)
