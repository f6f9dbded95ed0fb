"""``engine`` and ``lab``: start and stop processes."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NoReturn

from flowbook.cli import shapes
from flowbook.errors import UserError

if TYPE_CHECKING:
    from flowbook.wire.calls import Status


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
            client.stop()
            _say(
                options,
                {"stopped": True, "pid": status["pid"]},
                f"the engine of {home} (pid {status['pid']}) has stopped",
            )
        else:
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
