from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from flowbook.client import AsyncClient, launch
from flowbook.core import events as e
from flowbook.core.ids import Digest
from flowbook.core.module import Module
from flowbook.engine.clock import SystemClock
from flowbook.engine.host import Host, Settings
from flowbook.engine.processes import Child
from flowbook.store.base import Store
from flowbook.store.home import Home, write_private
from flowbook.store.memory import MemoryStore
from tests.engine.processes import is_running
from tests.engine.scripted import PLACE

MODULE = Module(Digest("m1"), "flow", "source")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class PlainView:
    """Stands in for the real view: what happened, the last number, and whether something is owed."""

    def __init__(self, module: Module | None) -> None:
        self.view: dict[str, Any] = {"module": module.name if module else None, "kinds": [], "seq": 0}

    def apply(self, recorded: e.Recorded) -> None:
        kinds = [*self.view["kinds"], type(recorded.event).__name__]
        self.view = {**self.view, "seq": recorded.seq, "kinds": kinds}
        if isinstance(recorded.event, e.ObligationOpened | e.ObligationSettled):
            ended = recorded.time if isinstance(recorded.event, e.ObligationSettled) else None
            self.view["obligations"] = [{"ended": ended}]

    def glimpse(self, said: e.StepProgress | e.StepHeartbeat, time: float) -> None:
        self.view = {**self.view, "glimpsed": getattr(said, "done", None)}

    def shown(self) -> dict[str, Any]:
        return dict(self.view)


def plain_difference(old: dict[str, Any], new: dict[str, Any]) -> list[Any]:
    return [[[name], value] for name, value in new.items() if old.get(name) != value]


class FakeChild:
    """A process that never was: it ends when the test says so."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None
        self._ended = anyio.Event()

    async def wait(self) -> int:
        await self._ended.wait()
        assert self._code is not None
        return self._code

    def end(self, code: int) -> None:
        self._code = code
        self._ended.set()

    def terminate(self) -> None:
        self.end(-15)

    def kill(self) -> None:
        self.end(-9)


class Project:
    """One state folder, engines on it one after the other, and the processes they asked for."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / ".flowbook")
        self.home.create()
        self.store: Store = MemoryStore()
        self.children: list[FakeChild] = []
        self.served: list[str] = []
        self.fail_starts = ""
        self._pids = itertools.count(900_000_000)

    async def spawn(self, place: e.Place, queue: str) -> Child:
        child = FakeChild(next(self._pids))
        self.children.append(child)
        self.served.append(queue)
        if self.fail_starts:
            child.end(3)
        return child

    @asynccontextmanager
    async def engine(self, *, grace: float = 0.2) -> AsyncIterator[Host]:
        write_private(self.home.token, b"secret")
        host = Host(
            self.home,
            self.store,
            SystemClock(),
            self.spawn,
            "secret",
            PlainView,
            plain_difference,
            lambda module: module,
            Settings(reconnect_grace=grace, idle_exit=3600.0),
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(host.run)
            with anyio.fail_after(5):
                while not self.home.address.exists():
                    await anyio.sleep(0.001)
            yield host
            # What has hung up is noticed first: a connection that ends in the very moment of the crash is another test.
            while host.server.clients or host.fleet.links:
                await anyio.sleep(0)
            self.home.address.unlink(missing_ok=True)
            tasks.cancel_scope.cancel()

    def client(self) -> AsyncClient:
        return AsyncClient(self.home.folder, start=False)

    async def start(self, client: AsyncClient, run: str = "r1", **options: Any) -> Any:
        await client.put_module(MODULE)
        return await client.start(run, "flow", MODULE.digest, options.pop("place", PLACE), **options)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder for engines as processes; the last one is killed afterwards."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    folder = Path(tempfile.mkdtemp(prefix="fb-"))
    yield folder / ".flowbook"
    address = launch.read_address(folder / ".flowbook")
    if address is not None and is_running(address.pid):
        os.kill(address.pid, signal.SIGKILL)
    shutil.rmtree(folder)


@pytest.fixture
def project() -> Iterator[Project]:
    with tempfile.TemporaryDirectory(prefix="fb-") as folder:
        yield Project(Path(folder))
