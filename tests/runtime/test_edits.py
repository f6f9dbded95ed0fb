"""Edited code against a recorded run: what is the same but for how it is written goes on, what differs is named."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from flowbook.core import events as e
from flowbook.core.ids import Digest, Seq
from flowbook.core.module import Module
from flowbook.errors import HistoryMismatch
from flowbook.runtime import modules
from flowbook.runtime.execution import Execution
from tests.runtime.driver import Driver, load, save

BEFORE = """
import asyncio
from flowbook import patched, signal, sleep, step, workflow

@step
def one(n): return n + 1

@step
def two(n): return n * 2

@step
def three(n): return n

async def helper(n):
    return await two(n)

DELAY = 30

@workflow
async def flow(n: int):
    a = await one(n)
    b = await helper(a)
    x = await three(a)
    await asyncio.sleep(DELAY)
    ok = await signal("go")
    c = await three(b)
    return a, b, c, ok
"""


def loaded(source: str) -> modules.LoadedModule:
    digest = Digest(hashlib.blake2b(source.encode(), digest_size=16).hexdigest())
    return modules.load(Module(digest, "edited", source))


@pytest.fixture(scope="module")
def history() -> list[e.Recorded]:
    """Of a run that waits for its signal."""
    driver = Driver(loaded(BEFORE).workflow("flow"), 1)
    while driver.turn():
        pass
    assert driver.kinds()[-1] == "SignalAwaited"
    return driver.history


def executed(history: list[e.Recorded], source: str, *, edited: bool) -> Execution:
    execution = Execution(loaded(source).workflow("flow"), save=save, load=load, view=True)
    if edited:
        execution.matching.allow_edits()
    try:
        execution.begin(history)
    except HistoryMismatch:
        execution.close()
        raise
    return execution


def edit(before: str, after: str) -> str:
    assert before in BEFORE
    return BEFORE.replace(before, after)


SAME = {
    "nothing": BEFORE,
    "layout": edit("await one(n)", "await one(\n        n,  # why\n    )"),
    "a local's name": edit("a = await", "first = await")
    .replace("(a)", "(first)")
    .replace("return a,", "return first,"),
    "by name": edit("await one(n)", "await one(n=n)"),
    "a helper inlined": edit("await helper(a)", "await two(a)"),
    "a helper renamed": BEFORE.replace("helper", "doubled"),
    "another sleep": edit("asyncio.sleep(DELAY)", "sleep(DELAY)"),
    "after the wait": edit("c = await three(b)", "c = await three(b + 1)"),
    "a branch that is patched in": edit(
        "    b = await", "    if patched('new'):\n        await three(0)\n    b = await"
    ),
    "in a try": edit("    a = await one(n)\n", "    try:\n        a = await one(n)\n    finally:\n        pass\n"),
}


@pytest.mark.parametrize("source", SAME.values(), ids=SAME)
def test_what_does_the_same_goes_on(history: list[e.Recorded], source: str) -> None:
    execution = executed(history, source, edited=True)
    waiting = next(iter(execution.signals.values()))
    assert waiting.name == "go" and waiting.key == next(
        r.event.key for r in history if isinstance(r.event, e.SignalAwaited)
    )
    execution.close()


OTHER = {
    "a step before": (edit("    a = await", "    await three(0)\n    a = await"), "it waits for step 'three'"),
    "a step gone": (edit("    b = await helper(a)\n", "    b = a\n"), "step 'two'"),
    "other arguments": (edit("await one(n)", "await one(n + 5)"), "with other arguments"),
    "another step": (edit("await one(n)", "await three(n)"), "it waits for step 'three'"),
    "another order": (edit("b = await helper(a)\n", "b = await helper(await three(a))\n"), "it waits for step 'three'"),
    "another signal": (edit('signal("go")', 'signal("went")'), "it waits for signal 'went'"),
    "no sleep": (edit("    await asyncio.sleep(DELAY)\n", ""), "timer"),
    "it raises": (
        edit("    b = await", "    raise RuntimeError('early')\n    b = await"),
        "it raised RuntimeError: early",
    ),
    "it returns": (edit("    b = await", "    return a\n    b = await"), "it returned"),
    "one parameter more": (edit("flow(n: int)", "flow(n: int, more: str)"), "it raised TypeError"),
}


@pytest.mark.parametrize(("source", "words"), OTHER.values(), ids=OTHER)
def test_what_does_something_else_is_said_with_what_it_does(history: list[e.Recorded], source: str, words: str) -> None:
    with pytest.raises(HistoryMismatch) as told:
        executed(history, source, edited=True)
    difference = told.value.difference
    assert isinstance(difference, dict) and words in f"{told.value}{difference['asked']}"
    assert "patched" in str(told.value) and difference["recorded"]


def test_a_timer_that_waits_keeps_its_time_and_is_named() -> None:
    driver = Driver(loaded(BEFORE).workflow("flow"), 1)
    while "TimerStarted" not in driver.kinds():
        driver.turn()
    execution = executed(driver.history, edit("DELAY = 30", "DELAY = 1"), edited=True)
    line = next(number for number, text in enumerate(BEFORE.splitlines(), 1) if "asyncio.sleep" in text)
    assert execution.other_timers == [line]
    assert executed(driver.history, BEFORE, edited=True).other_timers == []


@pytest.mark.parametrize("source", [SAME["a local's name"], SAME["a helper inlined"], SAME["another sleep"]])
def test_a_moved_run_goes_on_under_the_keys_of_its_history(history: list[e.Recorded], source: str) -> None:
    """What the check found out is recorded with the move, and the new code is the run's from then on."""
    checked = executed(history, source, edited=True)
    assert checked.matching.renaming
    moved = e.RunMoved(Digest("new"), names=checked.matching.renaming)
    driver = Driver(loaded(source).workflow("flow"), 1, evict=True)
    driver.history = [*history, e.Recorded(Seq(len(history) + 1), history[-1].time, moved)]
    driver.execution = driver._activate()
    driver.send("go", "yes")
    assert driver.run() == (2, 4, 4, "yes") or driver.run() == [2, 4, 4, "yes"]


def test_waiting_work_is_compared_when_the_code_asks_and_not_when_it_is_done() -> None:
    source = """
from flowbook import step, workflow

@step(external=True)
def asked(x): ...

@workflow
async def flow(n: int):
    return await asked(n)
"""
    driver = Driver(loaded(source).workflow("flow"), 1)
    command = driver.execution.calls[0].command
    waiting = e.StepWaiting(command.key, "asked", digest=command.digest)
    history = [*driver.history, e.Recorded(Seq(2), 1000.0, waiting)]
    executed(history, source, edited=True).close()
    with pytest.raises(HistoryMismatch, match="other arguments"):
        executed(history, source.replace("asked(n)", "asked(n + 1)"), edited=True)


def test_a_mismatch_is_not_for_the_code_to_catch(history: list[e.Recorded]) -> None:
    source = edit(
        "    b = await helper(a)", "    try:\n        b = await two(a + 1)\n    except BaseException:\n        b = 0"
    )
    with pytest.raises(HistoryMismatch):
        executed(history, source, edited=False)


def test_adding_a_draw_shifts_no_other() -> None:
    source = """
from flowbook import random, uuid4, step, workflow

@step
def told(*x): return x

@workflow
async def flow(n: int):
    a = random()
    b = uuid4()
    return await told(a, str(b))
"""
    more = source.replace("    a = random()", "    z = random()\n    y = [uuid4() for _ in range(3)]\n    a = random()")
    results: list[Any] = [Driver(loaded(text).workflow("flow"), 1).run() for text in (source, more)]
    assert results[0] == results[1]
