"""``python -m flowbook.engine --home DIR``: the composition root, where concrete classes are chosen."""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import signal
import sys
import threading
from pathlib import Path

import anyio

from flowbook.core.module import Module
from flowbook.core.patch import difference
from flowbook.core.view import RunView
from flowbook.engine.clock import SystemClock
from flowbook.engine.host import STOP_GRACE, Host, settings_from
from flowbook.engine.processes import spawner
from flowbook.errors import FlowbookError, StoreError
from flowbook.store.home import Home, write_private
from flowbook.store.local import LocalStore

ENDS_WITHIN = 60.0
"""Seconds after its goodbye in which the process ends, whatever its threads still do: all that matters is on disk."""


def main() -> int:
    """Run one engine until it is stopped; 2 when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m flowbook.engine", description="The engine of one project.")
    parser.add_argument("--home", type=Path, required=True, help="the project's state folder")
    home = Home(parser.parse_args().home)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        home.create()
        lock = home.lock(home.engine_lock)
        if lock is None:
            raise StoreError(f"another engine ({_holder(home)}) serves {home.folder}. Use that one, or stop it first.")
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()).encode())
        lock.flush()
        store = LocalStore(home)
    except FlowbookError as error:
        logging.getLogger("flowbook.engine").error("cannot start: %s", error)
        return 2
    # A drain in another thread must not hold up an acknowledgement for the usual 5 ms.
    sys.setswitchinterval(0.0005)
    code = 0
    try:
        anyio.run(_serve, home, store)
    except* FlowbookError as group:
        logging.getLogger("flowbook.engine").error("cannot start: %s", _first(group))
        code = 2
    finally:
        if home.folder.exists():
            store.close()
        lock.close()
    return code


def _laid_out(module: Module) -> Module:
    # Graphviz is loaded when somebody looks, not when the engine starts.
    from flowbook.export.layout import laid_out

    return laid_out(module)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _serve(home: Home, store: LocalStore) -> None:
    host = Host(
        home,
        store,
        SystemClock(),
        spawner(home),
        _token(home),
        RunView,
        difference,
        _laid_out,
        settings_from(os.environ),
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_signal, host)
        tasks.start_soon(_end_for_certain, host)
        await host.run()
        tasks.cancel_scope.cancel()


async def _stop_on_signal(host: Host) -> None:
    """The first signal lets running steps end, the second does not wait for them."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        grace = STOP_GRACE
        async for number in signals:
            host.stop(f"it received {number.name}", grace)
            grace = 0.0


async def _end_for_certain(host: Host) -> None:
    await host.left.wait()
    last_resort = threading.Timer(ENDS_WITHIN, os._exit, (1,))
    last_resort.daemon = True
    last_resort.start()


def _token(home: Home) -> str:
    try:
        token = home.token.read_text().strip()
    except OSError:
        token = ""
    if not token:
        token = secrets.token_hex(32)
        write_private(home.token, token.encode())
    return token


def _holder(home: Home) -> str:
    try:
        return f"process {int(home.engine_lock.read_text())}"
    except (OSError, ValueError):
        return "another process"


if __name__ == "__main__":
    sys.exit(main())
