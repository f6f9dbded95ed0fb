"""What the views say about a run or schedule is what the engine says, whatever it was told."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowbook.core import messages as m
from flowbook.core import schedule as s
from flowbook.core.ids import RunId, Seq
from flowbook.core.state import LiveObligation, RunState
from flowbook.store.base import Group, Stop
from flowbook.store.home import Home
from flowbook.store.local import LocalStore
from tests.core.test_schedule import HOUR, T0, Life, spec
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
@settings(max_examples=300, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    owed = "select [key, status, trying] from obligations where run = {} and status in ('open', 'failed', 'retrying')"
    assert sorted(said(store, owed, run)) == [
        [key, _status(live), live.trying or None] for key, live in sorted(state.obligations.items())
    ], kinds
    assert (run in store.owing()) == bool(state.obligations)
    assert said(store, "select key from steps where run = {} and status = 'outside' order by key", run) == sorted(
        _outside(state)
    ), kinds


@given(
    st.lists(
        st.one_of(
            st.floats(0.1, 5.0).map(lambda hours: ("wait", hours)),
            st.sampled_from([("end", 0.0), ("pause", 0.0), ("resume", 0.0), ("trigger", 0.0), ("delete", 0.0)]),
            st.sampled_from([{"limit": 2}, {"end": T0 + 6 * HOUR}, {}, {"limit": 1, "overlap": "cancel_other"}]).map(
                lambda options: ("set", options)
            ),
        ),
        max_size=20,
    )
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_schedules_and_their_view_agree(store: LocalStore, moves: list[tuple[str, Any]]) -> None:
    life = Life(limit=3)
    for move, detail in moves:
        if move == "wait":
            life.at((life.now - T0) / HOUR + detail)
        elif move == "set":
            life.tell(s.SetSchedule("nightly", spec(**detail)))
        elif move == "end":
            for run in list(life.state.running)[:1]:
                life.tell(s.ScheduledRunEnded(run, "succeeded"))
        elif life.state.spec is not None:
            life.tell(MESSAGES[move])
    name, group = f"s{next(NUMBERS)}", Group()
    for number, event in enumerate(life.log, 1):
        group.note(s.stream(name), Seq(number), T0 + number, event)
    store.commit(group)
    found = store.query(f"select status, reason, fired, skipped from schedules where name = '{name}'", 1, Stop()).rows
    state, kinds = life.state, [type(event).__name__ for event in life.log]
    if state.spec is None:
        assert found == [], kinds
    else:
        assert found[0][:2] == [state.status, state.reason if state.is_paused else None], kinds


MESSAGES = {
    "pause": s.PauseSchedule("why not"),
    "resume": s.ResumeSchedule(),
    "trigger": s.TriggerSchedule(),
    "delete": s.DeleteSchedule(),
}


def _status(owed: LiveObligation) -> str:
    return "retrying" if owed.trying else "failed" if owed.failed else "open"


def _outside(state: RunState) -> list[str]:
    return [key for key, live in state.steps.items() if live.waiting]
