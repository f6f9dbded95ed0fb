"""Whatever a run begins outside, and however it ends: what is there then was kept, or left, or is listed as owed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from flowbook.core import events as e
from flowbook.core.retry import RetryPolicy
from flowbook.errors import NotStarted
from flowbook.runtime.definitions import Step, step
from flowbook.runtime.operation import operation
from flowbook.runtime.saga import saga
from tests.runtime.driver import Driver

TURNS = 20_000
"""More than any of these runs needs."""


class Thing(NamedTuple):
    """Something to make. ``fates`` says what becomes of each attempt at it; ``stays`` where nothing can remove it."""

    fates: tuple[str, ...]
    remove: str
    stays: bool


class Operation(NamedTuple):
    """One operation; ``poll`` is what polling comes to."""

    thing: Thing
    poll: str


class Block(NamedTuple):
    """A saga of several things, made one after the other or ``together``, which ``fails`` after that or not."""

    things: tuple[Thing, ...]
    together: bool
    fails: bool


class World:
    """Which things are there outside."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.things: dict[str, Thing] = {}
        self.attempts: Counter[str] = Counter()


world = World()


@step(retry=RetryPolicy(maximum_attempts=2))
def make(name: str) -> str:
    fates = world.things[name].fates
    fate = fates[min(world.attempts[name], len(fates) - 1)]
    world.attempts[name] += 1
    if fate == "refused":
        raise NotStarted("no room")
    if fate in ("made", "made and lost"):
        world.there.add(name)
    if fate != "made":
        raise ConnectionError("no answer")
    return f"made {name}"


def remove(name: str) -> None:
    if world.things[name].stays:
        raise PermissionError("no")
    world.there.discard(name)


@step
def by_result(made: str) -> None:
    remove(made.removeprefix("made "))


@step
def by_name(made: str | None = None, *, name: str) -> None:
    remove(name)


@step
def poll_ready(made: str) -> bool:
    return True


@step
def poll_never(made: str) -> bool:
    return False


@step
def poll_broken(made: str) -> bool:
    raise OSError("no route")


REMOVES: dict[str, Step[..., Any] | None] = {"result": by_result, "name": by_name, "none": None}
POLLS = {"ready": poll_ready, "never": poll_never, "broken": poll_broken}


async def _operate(name: str, made: Operation) -> None:
    cancel = REMOVES[made.thing.remove]
    await operation(make, name, poll=POLLS[made.poll], every="10s", timeout="1m", cancel=cancel)


async def _block(name: str, block: Block) -> None:
    async with saga() as s:

        async def do(number: int, thing: Thing) -> None:
            await s.do(make, f"{name}.{number}", undo=REMOVES[thing.remove] or by_result)

        if block.together:
            async with asyncio.TaskGroup() as tasks:
                for number, thing in enumerate(block.things):
                    tasks.create_task(do(number, thing))
        else:
            for number, thing in enumerate(block.things):
                await do(number, thing)
        await asyncio.sleep(1)
        if block.fails:
            raise ValueError("no")


Piece = Operation | Block


async def _all(pieces: list[Piece]) -> None:
    for number, piece in enumerate(pieces):
        try:
            await (_operate(f"{number}", piece) if isinstance(piece, Operation) else _block(f"{number}", piece))
        except Exception:
            continue


def learn(pieces: list[Piece]) -> None:
    """A new world, for these."""
    world.__init__()  # type: ignore[misc]
    for number, piece in enumerate(pieces):
        if isinstance(piece, Operation):
            world.things[f"{number}"] = piece.thing
        else:
            world.things |= {f"{number}.{inner}": thing for inner, thing in enumerate(piece.things)}


FATES = st.lists(st.sampled_from(["made", "made", "made and lost", "lost", "refused"]), min_size=1, max_size=2)
THINGS = st.builds(Thing, FATES.map(tuple), st.sampled_from(["result", "name", "none"]), st.booleans())
PIECES = st.lists(
    st.one_of(
        st.builds(Operation, THINGS, st.sampled_from(["ready", "never", "broken"])),
        st.builds(Block, st.lists(THINGS, min_size=1, max_size=3).map(tuple), st.booleans(), st.booleans()),
    ),
    min_size=1,
    max_size=3,
)
ENDINGS = st.none() | st.tuples(st.integers(0, 60), st.sampled_from([e.CancelRequested(), e.TerminateRequested()]))


@given(PIECES, ENDINGS, st.booleans(), st.booleans())
@settings(max_examples=250)
def test_what_is_there_was_kept_or_left_or_is_owed(
    pieces: list[Piece], ending: tuple[int, e.AnyEvent] | None, late: bool, evict: bool
) -> None:
    learn(pieces)

    async def flow() -> None:
        await _all(pieces)

    driver = Driver(flow, evict=evict)
    driver.late = late
    for turn in range(TURNS):
        if ending is not None and turn == ending[0]:
            driver.mailbox.append(ending[1])
        if not driver.turn():
            break
    assert isinstance(driver.history[-1].event, e.CLOSING)
    names: dict[str, str] = {}
    outcomes: dict[str, str] = {}
    for recorded in driver.history:
        match recorded.event:
            case e.ObligationOpened(key=key, arguments=arguments):
                names[key] = json.loads(bytes(arguments["name"].data))
            case e.ObligationSettled(key=key, outcome=outcome):
                # A run that is re-executed in the middle of what it says says it again; `decide` takes it once.
                assert outcomes.setdefault(key, outcome) == outcome
            case e.ObligationFailed(key=key):
                assert outcomes.setdefault(key, "owed") == "owed"
    assert outcomes.keys() == names.keys(), "each is settled, or given up and listed"
    became = {name: outcomes[key] for key, name in names.items()}
    for name in world.there:
        assert became[name] in ("kept", "left", "owed"), became
    for name, outcome in became.items():
        if outcome == "kept":
            assert name in world.there
        if outcome == "owed":
            assert world.things[name].stays or world.things[name].remove != "name", became
