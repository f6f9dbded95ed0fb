"""``engine`` and ``lab``: start and stop processes."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from flowbook.cli import shapes, terminal
from flowbook.core.duration import seconds, spoken
from flowbook.errors import FlowbookError, UserError

if TYPE_CHECKING:
    from flowbook.client import Client
    from flowbook.wire.calls import Status

LOOK_EVERY = 0.1
LEAVES_WITHIN = 30.0
"""Seconds after the grace in which an engine has closed its files."""


def engine(options: Namespace) -> int:
    """``flowbook engine start|stop|status``."""
    from flowbook.api.connection import connect
    from flowbook.client.launch import find_home, running_engine

    home = find_home()
    running = running_engine(home) is not None
    if options.action == "start" or running:
        client = connect(start=options.action == "start").client
        status: Status = client.status()
        if options.action == "stop":
            return _stop(options, client, home, status)
        _say(options, status, _described(status))
        return 0
    nothing: dict[str, Any] = {
        "pid": None,
        "workers": [],
        "file": str(home / "flowbook.duckdb"),
        "open_runs": None,
        "stopped": True,
    }
    _say(options, nothing, f"no engine is running for {home}")
    return 0


def _stop(options: Namespace, client: Client, home: Path, status: Status) -> int:
    """Stop it and wait until it has really left; 1 where it takes longer than it should."""
    from flowbook.client.launch import has_ended

    pid, grace = status["pid"], 0.0 if options.now else seconds(options.grace)
    begun = time.monotonic()
    client.stop(grace)
    with terminal.Progress() as progress:
        while not (ended := has_ended(home, pid)) and time.monotonic() - begun < grace + LEAVES_WITHIN:
            progress.say(_waiting(client, grace - (time.monotonic() - begun)))
            time.sleep(LOOK_EVERY)
    if not ended:
        text = f"the engine of {home} (pid {pid}) is still leaving; its log is {home / 'logs' / 'engine.log'}"
    else:
        text = f"the engine of {home} (pid {pid}) has stopped"
    _say(options, {"stopped": ended, "pid": pid}, text)
    return 0 if ended else 1


def _waiting(client: Client, left: float) -> str:
    try:
        busy = sum(worker["busy"] for worker in client.status()["workers"])
    except FlowbookError:
        return "the engine closes its files"
    if not busy:
        return "the workers leave"
    return f"{busy} step{'' if busy == 1 else 's'} may take {spoken(max(left, 0.0))} more (--now does not wait)"


def _say(options: Namespace, document: Any, text: str) -> None:
    if options.json:
        shapes.emit(document)
    else:
        print(text)


def _described(status: Status) -> str:
    rows = [
        ("engine", f"pid {status['pid']}, version {status['version']}"),
        ("file", status["file"]),
        ("open runs", str(status["open_runs"])),
        *(
            (
                f"worker {w['pid']}",
                f"{w.get('runs', 0)} runs, {w.get('busy', 0)} steps running, in {w.get('folder', '')}",
            )
            for w in status["workers"]
        ),
        *(("note", notice) for notice in status.get("notices", [])),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in rows)


def lab(options: Namespace) -> int:
    """``flowbook lab``."""
    if find_spec("jupyterlab") is None:
        raise UserError("JupyterLab is not installed in this environment: pip install 'flowbook[lab]'")
    # In a container one is often root; Jupyter's own question about that has no answer there.
    root = ["--allow-root"] if os.geteuid() == 0 and "--allow-root" not in options.arguments else []
    _become("jupyterlab", *([options.file] if options.file else []), *root, *options.arguments)


def _become(module: str, *arguments: str) -> NoReturn:
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
