"""One request's trouble is its own: long queries, files that make no sense, faults that nobody foresaw."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flowbook.client import Client, asks, history_asks, launch, many_asks
from flowbook.core.messages import SendSignal, TerminateRun
from flowbook.core.value import NOTHING
from flowbook.engine import retention
from flowbook.errors import EngineUnavailable, FlowbookError, InternalError, UserError
from flowbook.store.memory import MemoryStore
from flowbook.wire.history import Prune
from tests.engine.conftest import MODULE, Project
from tests.engine.processes import eventually, is_free
from tests.engine.scripted import PLACE
from tests.store.test_archive import written

ENDLESS = "select count(*) from range(1000000000) a, range(1000000000) b where a.range * b.range % 7 = 3"


def _asking(client: Client, timeout: float = 60.0) -> threading.Thread:
    """Asks what has no end, in a thread that keeps its trouble to itself."""

    def ask() -> None:
        try:
            client.sql(ENDLESS, timeout=timeout)
        except FlowbookError:
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return thread


def _crowd(home: Path) -> list[Client]:
    """More endless queries than may run at once."""
    clients = [Client(home) for _ in range(4)]
    for client in clients:
        client.status()
        _asking(client)
    return clients


@pytest.mark.slow
def test_queries_leave_room_for_everything_else_and_end_with_those_who_asked(home: Path) -> None:
    with Client(home) as client:
        client.status()
        crowd = _crowd(home)
        began = time.monotonic()
        assert client.runs() == []
        client.put_module(MODULE)
        assert client.module(MODULE.digest) == MODULE
        assert time.monotonic() - began < 5.0
        for other in crowd:
            other.close()
        assert client.sql("select 42", timeout=20.0)["rows"] == [[42]]


@pytest.mark.slow
def test_a_query_ends_when_its_time_is_up_or_nobody_waits(home: Path) -> None:
    with Client(home) as client:
        with pytest.raises(UserError, match=r"took longer than 300ms; --timeout"):
            client.sql(ENDLESS, timeout=0.3)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                client._ask(asks.sql(ENDLESS, 1, 60.0), 0.2)
        assert client.sql("select 42", timeout=20.0)["rows"] == [[42]]


@pytest.mark.slow
def test_an_engine_with_endless_queries_leaves_all_the_same(home: Path) -> None:
    with Client(home) as client:
        pid = client.status()["pid"]
        crowd = _crowd(home)
        eventually(lambda: _is_refused(client))
        client.stop()
        eventually(lambda: launch.has_ended(home, pid))
        assert is_free(home)
        for other in crowd:
            other.close()
    with Client(home) as client:
        assert client.status()["pid"] != pid


def _is_refused(client: Client) -> bool:
    """True when no turn is free: a query that only waits is refused by nobody."""
    try:
        client._ask(asks.sql("select 42", 1, 60.0), 0.2)
    except TimeoutError:
        return True
    return False


@pytest.mark.slow
def test_no_file_ends_the_engine(home: Path) -> None:
    with Client(home) as client:
        pid = client.status()["pid"]
        whole = home.parent / "whole.flow"
        written(whole)
        data = whole.read_bytes()
        bad, pipe = home.parent / "bad.flow", home.parent / "pipe"
        os.mkfifo(pipe)
        for place in range(data.index(b"PK\x01\x02"), len(data)):
            bad.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
            try:
                client.ask(history_asks.import_run(str(bad), PLACE, f"r{place}"))
            except InternalError:
                raise
            except FlowbookError as error:
                assert "imported" in str(error) or "cannot be read" in str(error)
        for path in (str(pipe), "a\0b", "x" * 5000, str(home), "/dev/zero"):
            with pytest.raises(UserError):
                client.ask(history_asks.import_run(path, PLACE, "r"))
            with pytest.raises(UserError):
                client.ask(history_asks.export_run("nobody", path))
        assert client.status()["pid"] == pid


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["view", "runs", "status", "run", "history"])
async def test_a_fault_of_the_engines_own_is_told_and_logged_and_ends_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("oh")

    asked: dict[str, Callable[[Any], Any]] = {
        "view": lambda client: client.view("r1"),
        "runs": lambda client: client.runs(),
        "status": lambda client: client.status(),
        "run": lambda client: client.run("r1"),
        "history": lambda client: client.history("r1"),
    }
    async with project.engine() as host, project.client() as client:
        await project.start(client)
        answers = host.answers
        with monkeypatch.context() as patch:
            match method:
                case "view":
                    patch.setattr(answers._views, "shown", broken)
                case "runs":
                    patch.setattr(answers.many, "newest", broken)
                    answers._in_a_task["runs"] = (answers._in_a_task["runs"][0], broken)
                case "status":
                    answers._at_once["status"] = (answers._at_once["status"][0], broken)
                case _:
                    answers._of_run[method] = (answers._of_run[method][0], broken)
            with pytest.raises(InternalError, match=r"ZeroDivisionError: oh\. .*engine\.log has more"):
                await asked[method](client)
        assert "Traceback" in caplog.text
        assert await client.module(MODULE.digest) == MODULE


@pytest.mark.slow
def test_many_who_ask_are_all_answered(home: Path) -> None:
    with Client(home) as client, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: client.sql(f"select {n}")["rows"][0][0], range(40)))
    assert found == list(range(40))


@pytest.mark.slow
def test_what_waits_is_refused_when_the_engine_leaves(home: Path) -> None:
    with Client(home) as client:
        crowd = _crowd(home)
        eventually(lambda: _is_refused(client))
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(client.sql, "select 42")
            with Client(home) as other:
                other.stop()
            with pytest.raises((EngineUnavailable, UserError)):
                waiting.result(20.0)
        for each in crowd:
            each.close()


@pytest.mark.parametrize(("keep", "next"), [(1.0, 60.0), (600.0, 150.0), (7200.0, 1800.0), (1e7, 3600.0)])
def test_how_often_it_is_pruned(keep: float, next: float) -> None:
    assert retention.pause(keep) == next


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Prune(keep_last=-1), "keep_last cannot be negative"),
        (Prune(older_than=-3600.0), "older_than cannot be negative"),
        (Prune(status="running"), "Open runs are never deleted"),
    ],
)
async def test_what_makes_no_sense_deletes_nothing(project: Project, asked: Prune, said: str) -> None:
    async with project.engine(), project.client() as client:
        with pytest.raises(UserError, match=said):
            await client.ask(history_asks.prune(asked))


@pytest.mark.anyio
async def test_ids_that_no_run_can_have_leave_nothing(project: Project) -> None:
    async with project.engine(), project.client() as client:
        for run in ("a\nb", "x" * 201, ""):
            with pytest.raises(UserError, match="cannot be the id of a run"):
                await project.start(client, run)
        assert await client.runs() == []


@pytest.mark.anyio
async def test_many_runs_are_told_in_one_turn(project: Project) -> None:
    async with project.engine() as host, project.client() as client:
        for number in range(3):
            await project.start(client, f"r{number}")
        await client.terminate("r2", now=True)
        assert isinstance(host.store, MemoryStore)
        before = host.store.commits
        signal = SendSignal("go", NOTHING, "once")
        for _ in range(2):
            told = await client.ask(many_asks.tell(["r0", "r1", "r2", "nobody"], signal))
            assert [(each["run"], each["outcome"]) for each in told] == [
                ("r0", "recorded"),
                ("r1", "recorded"),
                ("r2", None),
                ("nobody", None),
            ]
            assert "r2" in str(told[2]["error"]) and "no run" in str(told[3]["error"])
        assert host.store.commits == before + 1
        told = await client.ask(many_asks.tell(["r0", "r2"], TerminateRun("enough", now=True)))
        assert [each["outcome"] for each in told] == ["terminated", "already done"]
        assert await client.ask(many_asks.tell([], signal)) == []
