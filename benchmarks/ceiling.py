"""The least that this way of working can cost: two processes, deterministic loops, a socket, one journal. Nothing else.

What W1 and W2 take when a step is a coroutine, an event four numbers, and the engine only commits groups and answers:
no state, no decisions, no identity of commands, no output, no views, no database. Flowbook's own figures are read
beside these.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[int, int, int]]).decode


def ceiling() -> dict[str, float]:
    """Steps a second of W1, and milliseconds for a step of W2."""
    with tempfile.TemporaryDirectory(prefix="flowbook-ceiling-") as folder:
        many = asyncio.run(_engine(Path(folder), 1000, 10, 100))
        one = asyncio.run(_engine(Path(folder), 1, 1000, 1))
    return {"W1 steps/s": 10_000 / many, "W2 ms/step": one}


async def _engine(folder: Path, runs: int, steps: int, in_flight: int) -> float:
    """Commit what arrives together in one transaction, then answer; seconds until the worker has left."""
    journal = sqlite3.connect(folder / f"journal-{runs}", isolation_level=None)
    journal.execute("pragma journal_mode=wal")
    journal.execute("pragma synchronous=full")
    journal.execute("create table journal(position integer primary key, body blob)")
    gone = asyncio.Event()

    class Engine(asyncio.Protocol):
        buffer = b""

        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.buffer += data
            events: list[tuple[int, int, int]] = []
            while len(self.buffer) >= 4:
                end = 4 + int.from_bytes(self.buffer[:4], "big")
                if len(self.buffer) < end:
                    break
                events += _decode(self.buffer[4:end])
                self.buffer = self.buffer[end:]
            if events:
                body = _encode(events)
                journal.execute("insert into journal(body) values (?)", (body,))
                self.transport.write(len(body).to_bytes(4, "big") + body)

        def connection_lost(self, error: Exception | None) -> None:
            gone.set()

    socket = folder / f"socket-{runs}"
    server = await asyncio.get_running_loop().create_unix_server(Engine, str(socket))
    command = [sys.executable, "-m", "benchmarks.ceiling", str(socket), str(runs), str(steps), str(in_flight)]
    worker = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True)
    await gone.wait()
    server.close()
    journal.close()
    return float(worker.communicate()[0])


class _Loop(asyncio.AbstractEventLoop):
    """Runs what is ready, and nothing else."""

    def __init__(self) -> None:
        self.ready: deque[Any] = deque()
        self.waiting: dict[int, asyncio.Future[int]] = {}
        self.asked: list[int] = []
        self.main: asyncio.Task[Any]

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = asyncio.Handle(callback, args, self, context)
        self.ready.append(handle)
        return handle

    def get_debug(self) -> bool:
        return False

    def create_task(self, coro: Any, **options: Any) -> Any:
        return asyncio.Task(coro, loop=self)

    def drain(self) -> None:
        asyncio._set_running_loop(self)
        while self.ready:
            self.ready.popleft()._run()
        asyncio._set_running_loop(None)

    async def step(self, number: int) -> int:
        future: asyncio.Future[int] = asyncio.Future(loop=self)
        self.waiting[number] = future
        self.asked.append(number)
        return await future


async def _sequence(loop: _Loop, steps: int) -> None:
    for number in range(steps):
        await loop.step(number)


def _worker(address: str, runs: int, steps: int, in_flight: int) -> None:
    import socket

    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    loops: dict[int, _Loop] = {}
    begin, begun, out = time.perf_counter(), 0, []

    def advance(run: int, loop: _Loop) -> None:
        loop.drain()
        asked, loop.asked = loop.asked, []
        for number in asked:
            # The step itself: it gives back what it was given.
            out.append((run, number, number))
        if loop.main.done():
            del loops[run]

    buffer = b""
    while True:
        while begun < runs and len(loops) < in_flight:
            loop = loops[begun] = _Loop()
            work: Coroutine[Any, Any, None] = _sequence(loop, steps)
            loop.main = loop.create_task(work)
            advance(begun, loop)
            begun += 1
        if not loops:
            break
        if out:
            body = _encode(out)
            connection.sendall(len(body).to_bytes(4, "big") + body)
            out.clear()
        buffer += connection.recv(1 << 18)
        while len(buffer) >= 4:
            end = 4 + int.from_bytes(buffer[:4], "big")
            if len(buffer) < end:
                break
            for run, number, value in _decode(buffer[4:end]):
                loop = loops[run]
                loop.waiting.pop(number).set_result(value)
                advance(run, loop)
            buffer = buffer[end:]
    print(time.perf_counter() - begin, flush=True)
    connection.close()
    os._exit(0)


if __name__ == "__main__":
    _worker(sys.argv[1], *map(int, sys.argv[2:5]))
