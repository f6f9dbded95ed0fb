"""Real Jupyter servers with the Flowbook extension, each with folders of its own, on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flowbook.client import Client
from flowbook.errors import FlowbookError

TOKEN = "a-token-for-tests"
REPOSITORY = Path(__file__).parents[2]


@dataclass
class Server:
    url: str
    root: Path
    process: subprocess.Popen[bytes]
    log: Path
    token: str = TOKEN

    @property
    def ws(self) -> str:
        return "ws" + self.url.removeprefix("http")


@contextmanager
def serving(root: Path, private: Path, module: str, *options: str) -> Iterator[Server]:
    """``module`` (``jupyter_server`` or ``jupyterlab``) showing ``root``; ``private`` is its home and all its state."""
    (root / "pyproject.toml").write_text("")
    port = free_port()
    log = private / "server.log"
    command = [
        sys.executable, "-m", module, "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}",
        f"--ServerApp.root_dir={root}", *options,
    ]  # fmt: skip
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=root, env=environment(private), stdout=out, stderr=out)
    try:
        wait_for_port(port, process, log)
        yield Server(f"http://127.0.0.1:{port}", root, process, log)
    finally:
        process.terminate()
        process.wait(30)
        stop_engine(root)


def environment(private: Path) -> dict[str, str]:
    """An environment in which Jupyter sees nothing of this machine but this checkout's extension and kernel."""
    shared = private / "shared"
    for source, target in (("jupyter-config/server-config", "etc/jupyter_server_config.d"), ("kernels", "kernels")):
        link = shared / target
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(REPOSITORY / source)
    quiet = private / "config/lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "FLOWBOOK"))},
        "HOME": str(private),
        "JUPYTER_CONFIG_DIR": str(private / "config"),
        "JUPYTER_CONFIG_PATH": str(shared / "etc"),
        "JUPYTER_DATA_DIR": str(private / "data"),
        "JUPYTER_PATH": str(shared),
        "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
        "IPYTHONDIR": str(private / "ipython"),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"the server did not come up:\n{log.read_text()[-4000:]}")


def stop_engine(root: Path) -> None:
    home = root / ".flowbook"
    if (home / "token").exists():
        try:
            with Client(home, start=False) as client:
                client.stop()
        except FlowbookError:
            # It has gone already.
            return
