"""Deleted runs: gone for good, whenever the process dies, and their ids are free again."""

from __future__ import annotations

from flowbook.core.ids import Digest, RunId
from flowbook.core.module import Module
from flowbook.store.base import Group, Store, stored_module
from flowbook.store.home import Home
from flowbook.store.local import LocalStore
from tests.store.conftest import events, group
from tests.store.test_local import crash, seqs


def forgetting(*runs: str) -> Group:
    made = Group()
    made.forgotten = [RunId(run) for run in runs]
    return made


def test_a_deleted_run_is_gone_and_the_others_stay(store: Store) -> None:
    for run in ("a", "b"):
        store.commit(group(run))
    store.commit(group("open", events("open", closed=False)))
    assert [run.run for run in store.closed_sizes()] == ["b", "a"]
    store.commit(forgetting("a"))
    assert store.history(RunId("a")) == []
    assert store.closed_ids() == ["b"]
    assert [run for run, _ in store.open_runs()] == ["open"]


def test_an_id_is_free_again_in_the_same_moment(home: Home) -> None:
    store = LocalStore(home)
    store.commit(group("a"))
    store.commit(forgetting("a"))
    store.commit(group("a", events("a", closed=False)))
    assert seqs(store, "a") == [1, 2, 3, 4, 5]
    store.close()


def test_a_kill_after_the_commit_does_not_bring_it_back(home: Home) -> None:
    store = LocalStore(home)
    store.commit(group("a"))
    store.commit(group("b"))
    store.drain()
    store.commit(forgetting("a"))
    crash(store)
    store = LocalStore(home)
    assert store.closed_ids() == ["b"]
    crash(store)
    home.database.unlink()
    home.database.with_name(home.database.name + ".wal").unlink(missing_ok=True)
    store = LocalStore(home)
    assert store.closed_ids() == ["b"]
    store.close()


def test_modules_nobody_refers_to(store: Store) -> None:
    stored = Group()
    stored.modules = [stored_module(Module(Digest(name), "flow", "source")) for name in ("m", "old")]
    store.commit(stored)
    store.commit(group("a"))
    assert list(store.unused_modules()) == ["old"]
    unused = Group()
    unused.unused = [Digest("old")]
    store.commit(unused)
    assert store.module(Digest("old")) is None and store.module(Digest("m")) is not None
