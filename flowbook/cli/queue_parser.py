"""``flowbook queue``, ``queues``, ``worker`` and ``workers``: their flags and help. What they do is in ``queues``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Make = Callable[..., argparse.ArgumentParser]


def add(commands: Any, command: Make) -> None:
    """Add the commands; ``command`` makes one, with its help and examples."""
    _queues(commands, command)
    _queue(commands, command)
    _workers(commands, command)
    _worker(commands, command)


def _queues(commands: Any, command: Make) -> None:
    command(
        commands,
        "queues",
        "queues",
        "list task queues: what waits and runs, limits, workers",
        "flowbook queues",
    )


def _queue(commands: Any, command: Make) -> None:
    parser = command(
        commands,
        "queue",
        "queues",
        "set limits of a task queue, pause, resume and delete it",
        "flowbook queue set gpu --concurrency 4 --rate 10/s",
        "flowbook queue pause gpu --reason 'driver update'",
        about="What is set here counts more than what the code says.",
        json=False,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    made = command(
        actions,
        "set",
        "queues",
        "set limits; those not named stay as they are",
        "flowbook queue set gpu --concurrency 4 --rate 10/s",
        "flowbook queue set mail --rate 100/m --key-concurrency 1",
        "flowbook queue set gpu --concurrency none",
        "flowbook queue set gpu --reset",
        about="'none' lifts a limit.",
        function="set_queue",
    )
    _name(made)
    made.add_argument("--concurrency", metavar="N", help="how much of it may run at once")
    made.add_argument("--worker-concurrency", metavar="N", help="how much of it may run at once on each worker")
    made.add_argument("--key-concurrency", metavar="N", help="how much may run at once of each concurrency key")
    made.add_argument("--rate", metavar="N/TIME", help="how often something may begin: 10/s, 100/m, 5/30s")
    made.add_argument("--reset", action="store_true", help="forget what was set before; the code's limits hold again")
    made = command(
        actions,
        "pause",
        "queues",
        "hand out nothing more; what runs goes on",
        "flowbook queue pause gpu",
        function="pause_queue",
    )
    _name(made)
    made.add_argument("--reason", default="", help="shown with the queue")
    made = command(actions, "resume", "queues", "end a pause", "flowbook queue resume gpu", function="resume_queue")
    _name(made)
    made = command(
        actions,
        "delete",
        "queues",
        "forget what was set for a queue that nobody uses",
        "flowbook queue delete gpuu",
        function="delete_queue",
    )
    _name(made)


def _workers(commands: Any, command: Make) -> None:
    command(commands, "workers", "queues", "list this project's workers", "flowbook workers")


def _worker(commands: Any, command: Make) -> None:
    parser = command(
        commands,
        "worker",
        "queues",
        "run a worker for this project in the foreground, or drain one",
        "flowbook worker",
        "flowbook worker --queue gpu --queue default --concurrency 4",
        "flowbook worker drain 4711",
        about="The engine starts workers itself; this one is for other environments, queues and debugging. "
        "It does what was started in its own folder with its own Python. SIGTERM drains it.",
        json=False,
    )
    parser.add_argument(
        "--queue", action="append", default=[], metavar="NAME", help="task queue to serve (default: 'default')"
    )
    parser.add_argument(
        "--concurrency", default="100", metavar="N", help="how many tasks of queues it takes at once (default: 100)"
    )
    parser.add_argument(
        "--threads", metavar="N", help="how many plain (not async) steps it runs at once, in threads (default: 100)"
    )
    parser.add_argument(
        "--grace", default="30s", metavar="TIME", help="how long running steps may take when it drains (default: 30s)"
    )
    actions = parser.add_subparsers(metavar="ACTION")
    made = command(
        actions,
        "drain",
        "queues",
        "have a worker take nothing new, finish what runs, hand the rest over, and leave",
        "flowbook worker drain 4711",
        function="drain_worker",
    )
    made.add_argument("worker", metavar="WORKER", help="its process id or its id, as `flowbook workers` lists them")


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the queue")
