"""``queue``, ``queues``, ``worker`` and ``workers``: look at task queues and workers, change them, run one."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from flowbook.cli import shapes, terminal
from flowbook.core.duration import seconds
from flowbook.core.printable import printable
from flowbook.core.queues import checked_count, checked_limits, checked_name
from flowbook.errors import EngineUnavailable, UserError

if TYPE_CHECKING:
    from flowbook.client.asks import Ask
    from flowbook.wire.calls import WorkerStatus
    from flowbook.wire.queues import QueueStatus


def queues(options: Namespace) -> int:
    """``flowbook queues``."""
    from flowbook.api.connection import connect
    from flowbook.client import queue_asks

    found = connect().client.ask(queue_asks.queues())
    if options.json:
        shapes.emit(found)
    else:
        rows = [("QUEUE", "WAITING", "RUNNING", "LIMITS", "WORKERS"), *map(_row, found)]
        none = f"no queues yet; set one up with  {terminal.program()} queue set"
        print(table(rows) if found else none)
    return 0


def set_queue(options: Namespace) -> int:
    """``flowbook queue set``."""
    from flowbook.client import queue_asks

    limits = checked_limits(
        options.concurrency, options.worker_concurrency, options.key_concurrency, options.rate, flags=True
    )
    return _changed(queue_asks.set_limits(checked_name(options.name), limits, reset=options.reset), options)


def pause_queue(options: Namespace) -> int:
    """``flowbook queue pause``."""
    from flowbook.client import queue_asks

    return _changed(queue_asks.pause(checked_name(options.name), options.reason), options)


def resume_queue(options: Namespace) -> int:
    """``flowbook queue resume``."""
    from flowbook.client import queue_asks

    return _changed(queue_asks.resume(checked_name(options.name)), options)


def delete_queue(options: Namespace) -> int:
    """``flowbook queue delete``."""
    from flowbook.api.connection import connect
    from flowbook.client import queue_asks

    status = connect().client.ask(queue_asks.delete(checked_name(options.name)))
    if options.json:
        shapes.emit(status)
    else:
        print(f"queue {status['name']} is deleted; what was set for it is forgotten")
    return 0


def _changed(ask: Ask[QueueStatus], options: Namespace) -> int:
    from flowbook.api.connection import connect

    status = connect().client.ask(ask)
    if options.json:
        shapes.emit(status)
    else:
        state = " is paused" if status["paused"] else ""
        print(f"{'new ' if status['new'] else ''}queue {status['name']}{state}: {_counted(status)}")
        if status["new"]:
            print(
                f"nobody has used it yet; if that is not its name:  {terminal.typed('queue', 'delete', status['name'])}"
            )
    return 0


def _counted(status: QueueStatus) -> str:
    return f"{limits_of(status)}; {status['waiting']} waiting, {status['running']} running"


def _row(status: QueueStatus) -> tuple[str, ...]:
    paused = f"paused{': ' + status['reason'] if status['reason'] else ''}" if status["paused"] else ""
    said = limits_of(status)
    return (
        status["name"],
        str(status["waiting"]),
        str(status["running"]),
        f"{paused}; {said}" if paused else said,
        " ".join(map(str, status["workers"])) or "-",
    )


def limits_of(status: QueueStatus) -> str:
    """A queue's limits in words."""
    limits = status["limits"]
    said = [
        f"{limits['concurrency']} at once" if limits["concurrency"] else "",
        f"{limits['worker_concurrency']} on a worker" if limits["worker_concurrency"] else "",
        f"{limits['key_concurrency']} of a key" if limits["key_concurrency"] else "",
        limits["rate"] or "",
    ]
    return ", ".join(filter(None, said)) or "no limits"


def workers(options: Namespace) -> int:
    """``flowbook workers``."""
    from flowbook.api.connection import connect

    found = connect().client.status()["workers"]
    if options.json:
        shapes.emit(found)
    else:
        rows = [("PID", "QUEUES", "RUNS", "STEPS", "FOLDER", "STATE"), *map(_worker_row, found)]
        print(table(rows) if found else "no workers now; the engine starts one when a run needs it")
    return 0


def _worker_row(status: WorkerStatus) -> tuple[str, ...]:
    return (
        str(status["pid"]),
        " ".join(status["queues"]),
        str(status["runs"]),
        str(status["busy"]),
        status["folder"],
        "draining" if status["draining"] else "",
    )


def table(rows: list[tuple[str, ...]]) -> str:
    """Rows in columns."""
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def drain_worker(options: Namespace) -> int:
    """``flowbook worker drain``."""
    from flowbook.api.connection import connect
    from flowbook.client import queue_asks

    pid = connect().client.ask(queue_asks.drain(options.worker))
    if options.json:
        shapes.emit({"pid": pid, "draining": True})
    else:
        print(f"worker {pid} takes nothing new; it leaves when what it runs has ended")
    return 0


def worker(options: Namespace) -> int:
    """``flowbook worker``."""
    from flowbook.client.launch import ensure_engine, find_home

    names = [checked_name(name) for name in options.queue] or ["default"]
    arguments = [part for name in names for part in ("--queue", name)]
    arguments += ["--concurrency", str(checked_count("--concurrency", options.concurrency) or 2**31)]
    if options.threads is not None:
        arguments += ["--threads", str(checked_count("--threads", options.threads) or 2**31)]
    arguments += ["--grace", str(seconds(options.grace))]
    home = find_home()
    try:
        ensure_engine(home)
    except EngineUnavailable as error:
        raise UserError(str(error)) from None
    print(
        f"a worker for {home}: it does what was started in {os.getcwd()} with {sys.executable} "
        f"for queue {', '.join(names)}. Ctrl-C stops it, SIGTERM drains it",
        file=sys.stderr,
    )
    command: list[Any] = [sys.executable, "-m", "flowbook.worker", "--home", str(home), *arguments]
    sys.stdout.flush()
    os.execv(sys.executable, command)
