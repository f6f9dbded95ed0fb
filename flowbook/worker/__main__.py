"""``python -m flowbook.worker --home DIR``: connect to the project's engine, serve it, leave when it says so."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import traceback
from pathlib import Path

from flowbook.client.launch import find_home
from flowbook.core.duration import setting, whole
from flowbook.core.events import Place
from flowbook.worker import capture, clocks, guard
from flowbook.worker.holding import KEEP_IDLE
from flowbook.worker.leaving import leave
from flowbook.worker.loop import WorkerLoop
from flowbook.worker.session import DRAIN_GRACE, THREADS, TICK, Session

TICK_EVICTING = 0.002
"""``TICK`` where every run is dropped whenever it waits, which is found out at a tick."""


def main() -> int:
    """Run one worker until it is no longer needed."""
    # Workers that the engine starts have its environment, which the engine has read as well.
    usual = int(setting(os.environ, "FLOWBOOK_WORKER_THREADS", THREADS, whole))
    parser = argparse.ArgumentParser(prog="flowbook worker", description="Run steps and workflows of this project.")
    parser.add_argument("--home", type=Path, default=None, help="the project's state folder (found by default)")
    parser.add_argument("--queue", action="append", default=[], help="task queue to serve (default: 'default')")
    parser.add_argument("--concurrency", type=int, default=100, help="tasks of queues it runs at once")
    parser.add_argument("--threads", type=int, default=usual, help="plain steps it runs at once, in threads")
    parser.add_argument("--grace", type=float, default=DRAIN_GRACE, help="seconds for running steps when it leaves")
    parser.add_argument("--stands-for", nargs=2, metavar=("FOLDER", "PYTHON"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    _have_same_hashes()
    os.environ.setdefault("MPLBACKEND", "Agg")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    capture.install()
    clocks.install()
    guard.install()
    always_evict = os.environ.get("FLOWBOOK_ALWAYS_EVICT", "") not in ("", "0")
    session = Session(
        options.home or find_home(),
        tuple(options.queue) or ("default",),
        concurrency=options.concurrency,
        grace=options.grace,
        threads=max(1, options.threads),
        keep=0.0 if always_evict else KEEP_IDLE,
        tick=TICK_EVICTING if always_evict else TICK,
        place=Place(*options.stands_for) if options.stands_for else None,
    )
    session.watch()
    # The runner is not closed: it would wait for tasks and threads of steps, which have had their time.
    runner = asyncio.Runner(loop_factory=WorkerLoop)
    try:
        runner.run(_serve(session))
    except KeyboardInterrupt:
        return 130
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _have_same_hashes() -> None:
    """Begin anew where hashes of texts are random: the order of a set must be the same when a run is re-executed."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


async def _serve(session: Session) -> None:
    """Serve; the first SIGTERM drains, the second one ends."""
    loop = asyncio.get_running_loop()

    def drain() -> None:
        loop.remove_signal_handler(signal.SIGTERM)
        session.drain()

    loop.add_signal_handler(signal.SIGTERM, drain)
    await session.run()


if __name__ == "__main__":
    leave(main())
