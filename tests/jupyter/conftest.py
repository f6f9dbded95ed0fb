"""A real jupyter_server with the Flowbook extension, on loopback, in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flowbook.client import Client

TOKEN = "a-token-for-tests"


@dataclass
class Server:
    url: str
    root: Path
    token: str = TOKEN

    @property
    def ws(self) -> str:
        return "ws" + self.url.removeprefix("http")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("project")
    (root / "pyproject.toml").write_text("")
    private = tmp_path_factory.mktemp("private")
    config = private / "etc" / "jupyter_server_config.d"
    config.mkdir(parents=True)
    (config / "flowbook.json").write_text('{"ServerApp": {"jpserver_extensions": {"flowbook.jupyter": true}}}')
    port = free_port()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "FLOWBOOK"))},
        "HOME": str(private),
        "JUPYTER_CONFIG_DIR": str(private / "config"),
        "JUPYTER_DATA_DIR": str(private / "data"),
        "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
        "JUPYTER_CONFIG_PATH": str(private / "etc"),
    }
    log = (private / "server.log").open("wb")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}",
            f"--ServerApp.root_dir={root}",
        ],
        cwd=root, env=environment, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        wait_for_port(port, process, private / "server.log")
        yield Server(f"http://127.0.0.1:{port}", root)
    finally:
        process.terminate()
        process.wait(20)
        log.close()
        stop_engine(root)


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"the server did not come up:\n{log.read_text()[-4000:]}")


def stop_engine(root: Path) -> None:
    home = root / ".flowbook"
    if (home / "token").exists():
        try:
            with Client(home, start=False) as client:
                client.stop()
        except Exception as error:
            print(f"no engine to stop: {error}")
