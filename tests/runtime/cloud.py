"""A cloud that tests create things in, and what a run's history tells of them."""

from __future__ import annotations

from collections.abc import Callable

from flowbook.core import events as e
from flowbook.runtime.definitions import step
from tests.runtime.driver import Driver


class World:
    """A cloud with one machine, which takes some polls to come up and some to go."""

    def __init__(self, ready_after: int = 2, gone_after: int = 2) -> None:
        self.said: list[str] = []
        self.left = ready_after
        self.going = gone_after
        self.broken: set[str] = set()

    def say(self, what: str) -> None:
        self.said.append(what)
        if what in self.broken:
            raise OSError(f"{what} is broken")


world = World()


@step
def create(name: str) -> str:
    world.say("create")
    return f"vm-{name}"


@step
def ready(vm: str) -> bool:
    world.say("poll")
    world.left -= 1
    return world.left <= 0


@step
def delete(vm: str) -> None:
    world.say("delete")


@step
def unmake(name: str) -> None:
    world.say("unmake")


@step
def gone(vm: str) -> bool:
    world.say("confirm")
    world.going -= 1
    return world.going <= 0


def obligations(driver: Driver) -> list[str]:
    """What was owed, as the history tells it."""
    told = []
    for recorded in driver.history:
        match recorded.event:
            case e.ObligationOpened(name=name):
                told.append(f"owes {name}")
            case e.ObligationSettled(outcome=outcome):
                told.append(outcome)
            case e.ObligationFailed(failure=failure):
                told.append(f"failed {failure.type}")
    return told


def turns_until(driver: Driver, ready: Callable[[], bool]) -> None:
    while not ready():
        assert driver.turn()
