"""A project of its own for each measurement: real engine, real worker, durable commits, nothing tuned."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowbook.api.source import accepted, compile_file
from flowbook.client import AsyncClient, Client
from flowbook.core.events import Place
from flowbook.core.module import Module
from flowbook.wire.codec import encode

FILE = Path(__file__).with_name("workflows.py")


class Project:
    """A state folder, its engine, and the measured module stored in it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / ".flowbook"
        self.client = Client(self.home)
        self.module: Module = accepted(compile_file(FILE), FILE)
        self.place = Place(str(FILE.parents[1]), sys.executable)
        self.client.put_module(self.module)

    def start(self, run: str, workflow: str, **arguments: object) -> None:
        values = {name: encode(value, _unsaved, name) for name, value in arguments.items()}
        self.client.start(run, workflow, self.module.digest, self.place, values)

    async def astart(self, client: AsyncClient, run: str, workflow: str, **arguments: object) -> None:
        values = {name: encode(value, _unsaved, name) for name, value in arguments.items()}
        await client.start(run, workflow, self.module.digest, self.place, values)

    def finish(self, run: str, timeout: float = 120.0) -> None:
        """Wait until the run has succeeded."""
        status = self.client.wait(run, timeout)["status"]
        if status != "succeeded":
            raise RuntimeError(f"{run} is {status}")

    def signal(self, run: str, name: str, value: object) -> None:
        self.client.signal(run, name, encode(value, _unsaved, name))

    def warm(self, run: str = "warm") -> None:
        """Have a worker there that has loaded the module."""
        self.start(run, "sequence", steps=50)
        self.finish(run)

    def stop(self) -> None:
        """End the engine and its workers; the next call starts another."""
        engine, workers = self.pids()
        self.client.stop(0.0)
        _await_end([engine, *workers])

    def pids(self) -> tuple[int, list[int]]:
        """The engine's and its workers' process ids."""
        status = self.client.status()
        return status["pid"], [worker["pid"] for worker in status["workers"]]


def _unsaved(data: bytes) -> str:
    raise RuntimeError("arguments of a benchmark are small")


@contextmanager
def project() -> Iterator[Project]:
    """A fresh project; its engine and workers are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="flowbook-bench-", ignore_cleanup_errors=True) as folder:
        os.environ.pop("FLOWBOOK_HOME", None)
        made = Project(Path(folder))
        try:
            yield made
        finally:
            made.stop()
            made.client.close()


def _await_end(pids: list[int], timeout: float = 5.0) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.02)


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0
