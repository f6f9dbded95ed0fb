"""The computer of a virtual world: its clock, its random numbers, its process ids and its threads.

While a world runs, and in its thread alone, the standard library's clocks tell the world's time, ids come from the
world's random numbers, sockets are the world's, and what would run in a thread runs at once. Workflow code sees none of
it: it has the clocks of its run, as in a worker.
"""

from __future__ import annotations

import inspect
import os
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any
from unittest.mock import patch

import anyio
import anyio.to_thread

from flowbook.client import launch
from flowbook.engine import timers
from flowbook.runtime import current
from flowbook.testing.loop import NEVER, VirtualLoop
from flowbook.testing.network import Network

FIRST_PID = 2**30
"""Process ids of simulated processes begin here; Linux and macOS give out none as large."""


class Machine:
    """Stands in for the operating system. ``find_engine`` gives the engine's address, starting one if need be."""

    def __init__(
        self,
        loop: VirtualLoop,
        network: Network,
        random: Random,
        here: Callable[[], int],
        is_alive: Callable[[int], bool],
        find_engine: Callable[[], Any],
    ) -> None:
        self.loop = loop
        self.network = network
        self.random = random
        self.here = here
        self.is_alive = is_alive
        self.find_engine = find_engine
        self.set_back = 0.0
        """Seconds by which somebody has set its clock back; what counts seconds goes on."""

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Be the computer, for this thread and this while."""
        thread = threading.get_ident()

        def replaced(owner: Any, name: str, ours: Callable[..., Any]) -> Any:
            theirs = getattr(owner, name)

            def either(*args: Any, **options: Any) -> Any:
                is_here = threading.get_ident() == thread and current.execution() is None
                return (ours if is_here else theirs)(*args, **options)

            return patch.object(owner, name, either)

        kill, network = os.kill, self.network
        with ExitStack() as stack:
            for owner, name, ours in (
                (time, "time", lambda: self.loop.time() - self.set_back),
                (time, "monotonic", self.loop.time),
                (uuid, "uuid4", lambda: uuid.UUID(int=self.random.getrandbits(128), version=4)),
                (secrets, "token_hex", lambda length=32: self.random.randbytes(length).hex()),
                (os, "getpid", self.here),
                (os, "kill", lambda pid, number: self._kill(kill, pid, number)),
                (anyio.to_thread, "run_sync", _at_once),
                (anyio, "connect_unix", network.stream),
                (launch, "ensure_engine", lambda *where, **options: self.find_engine()),
                (launch, "running_engine", lambda *where: self.find_engine()),
            ):
                stack.enter_context(replaced(owner, name, ours))
            stack.enter_context(patch.object(timers, "LONGEST_SLEEP", 2 * NEVER))
            yield

    def _kill(self, kill: Callable[[int, int], None], pid: int, number: int) -> None:
        if pid < FIRST_PID:
            kill(pid, number)
        elif not self.is_alive(pid):
            raise ProcessLookupError(pid)


async def _at_once(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    result = function(*args)
    return await result if inspect.isawaitable(result) else result
