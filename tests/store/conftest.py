from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowbook.core import events as e
from flowbook.core.ids import Digest, Key, RunId, Seq, WorkerId
from flowbook.core.value import NOTHING
from flowbook.store import duckdb
from flowbook.store.base import Group, Store
from flowbook.store.home import Home
from flowbook.store.local import LocalStore
from flowbook.store.memory import MemoryStore


def events(run: str, *, closed: bool = True) -> list[e.AnyEvent]:
    """A small history of one run."""
    key = Key("main/abc")
    history: list[e.AnyEvent] = [
        e.RunStarted(
            run=RunId(run),
            workflow="flow",
            module=Digest("m"),
            place=e.Place("/project", "python"),
            arguments={"since": NOTHING, "a b": NOTHING},
            name="nightly",
        ),
        e.StepStarted(key=key, step="load", worker=WorkerId("w")),
        e.StepCompleted(key=key, step="load", value=NOTHING, started=1.5),
        e.TimerStarted(key=Key("t"), due=99.5, label="nap"),
        e.SignalReceived(name="go", value=NOTHING, id="x"),
    ]
    return [*history, e.RunCompleted(value=NOTHING)] if closed else history


def group(run: str, history: list[e.AnyEvent] | None = None, after: int = 0, time: float = 100.0) -> Group:
    """Events of one run as a group."""
    made = Group()
    for number, event in enumerate(events(run) if history is None else history, start=after + 1):
        made.add(RunId(run), Seq(number), time + number + 0.125, event)
    return made


Reopen = Callable[[], Store]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / ".flowbook")
    home.create()
    return home


@pytest.fixture
def opened(home: Home) -> Iterator[list[LocalStore]]:
    stores: list[LocalStore] = []
    yield stores
    for store in stores:
        store.close()


@pytest.fixture(params=["memory", "local", "local, in bulk"])
def store(request: pytest.FixtureRequest, home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    if request.param == "local, in bulk":
        monkeypatch.setattr(duckdb, "MANY", 0)
    made: Store = MemoryStore() if request.param == "memory" else LocalStore(home)
    yield made
    made.close()
