"""What the views say about a run is what the engine says, whatever was said to the run."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from flowbook.core import messages as m
from flowbook.core.ids import RunId
from flowbook.core.state import RunState
from flowbook.store.base import Group, Stop
from flowbook.store.home import Home
from flowbook.store.local import LocalStore
from tests.laws.test_histories import conversations, lived

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def store() -> Iterator[LocalStore]:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / ".flowbook")
        home.create()
        store = LocalStore(home)
        yield store
        store.close()


def said(store: LocalStore, query: str, run: str) -> list[object]:
    return [row[0] for row in store.query(query.format(f"'{run}'"), 100, Stop()).rows]


@given(conversations)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_views_and_state_agree(store: LocalStore, told: list[m.AnyMessage]) -> None:
    history, state = lived(told)
    run = f"r{next(NUMBERS)}"
    group = Group()
    for recorded in history:
        group.add(RunId(run), recorded.seq, recorded.time, recorded.event)
    store.commit(group)
    kinds = [type(recorded.event).__name__ for recorded in history]
    assert said(store, "select status from runs where id = {}", run) == [state.status], kinds
    assert said(store, "select key from timers where run = {} and status = 'pending' order by key", run) == sorted(
        state.timers
    ), kinds
    assert said(store, "select id from updates where run = {} and status = 'received' order by id", run) == sorted(
        state.updates
    ), kinds
    assert said(
        store, "select key from obligations where run = {} and status in ('open', 'failed') order by key", run
    ) == sorted(state.obligations), kinds
    assert (run in store.owing()) == bool(state.obligations)
    assert said(store, "select key from steps where run = {} and status = 'outside' order by key", run) == sorted(
        _outside(state)
    ), kinds


def _outside(state: RunState) -> list[str]:
    return [key for key, live in state.steps.items() if live.waiting]
