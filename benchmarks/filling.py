"""A project that has seen much already: runs written straight into its store, as its engine would have left them.

The engine is stopped meanwhile. A run of the kind is carried out for real first, and its history is what is copied.
"""

from __future__ import annotations

import msgspec

from benchmarks.project import Project
from flowbook.core.events import Recorded, RunStarted
from flowbook.core.ids import RunId, Seq
from flowbook.store.base import Group
from flowbook.store.home import Home
from flowbook.store.local import LocalStore

GROUP = 2000
"""Runs in one commit."""


def fill(made: Project, template: str, count: int, prefix: str) -> None:
    """Add ``count`` copies of the run ``template``; where that is open, they wait as it does."""
    history = made.client.history(template)
    is_open = made.client.run(template)["ended"] is None
    made.stop()
    store = LocalStore(Home(made.home))
    try:
        for first in range(0, count, GROUP):
            group = Group()
            for number in range(first, min(first + GROUP, count)):
                _copy(group, RunId(f"{prefix}-{number}"), history, is_open)
            store.commit(group)
            while store.drain():
                pass
    finally:
        store.close()


def _copy(group: Group, run: RunId, history: list[Recorded], is_open: bool) -> None:
    for recorded in history:
        event = recorded.event
        if isinstance(event, RunStarted):
            event = msgspec.structs.replace(event, run=run, seed=event.seed or event.run)
        group.add(run, recorded.seq, recorded.time, event)
    if is_open:
        group.idle[run] = Seq(history[-1].seq)
