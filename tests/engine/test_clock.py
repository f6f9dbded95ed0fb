"""The engine's clock while the machine's is set back and forth."""

from __future__ import annotations

import random

import anyio
import pytest

from flowbook.core.ids import RunId
from flowbook.engine import clock, timers


class Machine:
    """A machine whose clock somebody sets; its steady one goes on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.steady = 1000.0, 7.0
        monkeypatch.setattr(clock.time, "time", lambda: self.wall)
        monkeypatch.setattr(clock.time, "monotonic", lambda: self.steady)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_it_goes_on_while_the_machines_clock_is_set_back(machine: Machine) -> None:
    system = clock.SystemClock()
    assert system.now() == 1000.0
    machine.passes(5.0)
    assert system.now() == 1005.0 and system.notice == ""
    machine.wall -= 3600.0
    told = []
    for _ in range(3):
        machine.passes(10.0)
        told.append(system.now())
    assert told == [1015.0, 1025.0, 1035.0]
    assert "1h behind" in system.notice
    machine.wall += 3600.0
    assert system.now() == 1035.0 and system.notice == ""
    machine.wall += 7200.0
    assert system.now() == 8235.0


@pytest.mark.anyio
async def test_what_became_due_when_the_clock_was_set_forward_is_rung(machine: Machine) -> None:
    rung: list[RunId] = []
    due = timers.Timers(clock.SystemClock())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(due.run, lambda run, at: rung.append(run))
        due.set(machine.wall + 1800.0, RunId("soon"))
        due.set(machine.wall + 7200.0, RunId("late"))
        await anyio.wait_all_tasks_blocked()
        due.look()
        await anyio.wait_all_tasks_blocked()
        assert rung == []
        machine.wall += 3600.0
        due.look()
        await anyio.wait_all_tasks_blocked()
        assert rung == ["soon"]
        tasks.cancel_scope.cancel()


def test_a_little_is_not_worth_a_word(machine: Machine) -> None:
    system = clock.SystemClock()
    system.now()
    machine.wall -= 0.5
    assert system.notice == "" and system.now() == 1000.0


def test_it_never_says_less_than_before(machine: Machine) -> None:
    """Sums of floats are rounded, and a time a tenth of a microsecond ago is never over."""
    chance = random.Random(3)
    machine.wall, machine.steady = 1_750_000_010.123, 1_750_000_007.9
    system = clock.SystemClock()
    before = system.now()
    machine.wall -= 5.0
    for _ in range(2000):
        machine.passes(chance.choice((0.0, 0.0, chance.random())))
        assert (before := max(before, now := system.now())) == now


@pytest.mark.anyio
async def test_times_that_nobody_waits_for_any_more_take_no_room(machine: Machine) -> None:
    wanted: set[RunId] = set()
    due = timers.Timers(clock.SystemClock(), lambda run, at: run in wanted)
    for number in range(50_000):
        run = RunId(f"run-{number}")
        if number % 100 == 0:
            wanted.add(run)
        due.set(machine.wall + 3600.0 + number, run)
        assert len(due) <= max(timers.FEWEST, 2 * len(wanted)) + 1
    rung: list[RunId] = []
    machine.passes(100_000.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(due.run, lambda run, at: rung.append(run))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert [run for run in rung if run in wanted] == sorted(wanted, key=lambda run: int(run[4:]))
