"""A small cloud on this machine: it creates virtual machines, slowly, and fails now and then.

The sample notebook talks to it over HTTP. Its server starts by itself on loopback, remembers everything in a folder
(``CLOUD_DIR``, else one in the temporary folder), keeps a ledger of every call, and leaves after two idle minutes.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BOOT = float(os.environ.get("CLOUD_BOOT", "7"))
"""Seconds a machine takes to be ready."""

IDLE = 120.0


class CloudError(Exception):
    """The cloud said no."""


def create(name: str, region: str, size: int) -> dict:
    """Ask for a machine. The same name again is the same machine."""
    return _call("POST", f"/vms/{name}", {"region": region, "size": size})


def state(name: str) -> str:
    """``starting``, ``ready``, ``deleting`` or ``gone``."""
    return _call("GET", f"/vms/{name}")["state"]


def address(name: str) -> str:
    """Where a ready machine answers."""
    return _call("GET", f"/vms/{name}")["address"]


def delete(name: str) -> bool:
    """Ask for the machine's end; True when it is gone."""
    return _call("DELETE", f"/vms/{name}")["state"] == "gone"


def ledger() -> list[dict]:
    """Every call the cloud has answered, oldest first."""
    file = folder() / "ledger.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def folder() -> Path:
    """Where the cloud keeps its state."""
    named = os.environ.get("CLOUD_DIR")
    path = Path(named) if named else Path(tempfile.gettempdir()) / f"flowbook-cloud-{os.getuid()}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _call(method: str, path: str, body: dict | None = None) -> dict:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"http://127.0.0.1:{_port()}{path}", data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            raise CloudError(f"{method} {path}: {error.code} {json.load(error)['error']}") from None


def _port() -> int:
    with (folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        port = _listening()
        if port is not None:
            return port
        (folder() / "port").unlink(missing_ok=True)
        with (folder() / "server.log").open("ab") as log:
            command = [sys.executable, __file__, str(folder())]
            server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, pass_fds=()
            )
        server.returncode = 0  # it outlives this process
        for _ in range(200):
            time.sleep(0.05)
            port = _listening()
            if port is not None:
                return port
        raise CloudError("the cloud did not start; see " + str(folder() / "server.log"))


def _listening() -> int | None:
    try:
        port = int((folder() / "port").read_text())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
            return port
    except (OSError, ValueError):
        return None


class Cloud(ThreadingHTTPServer):
    """The server: its machines are in a file, so that it can be killed too."""

    daemon_threads = True

    def __init__(self, home: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.home = home
        self.guard = threading.Lock()
        self.last = time.monotonic()
        self.calls = len(ledger())
        file = home / "machines.json"
        self.machines = json.loads(file.read_text()) if file.exists() else {}
        draft = home / "port.draft"
        draft.write_text(str(self.server_address[1]))
        draft.replace(home / "port")

    def answer(self, method: str, name: str, body: dict) -> tuple[int, dict]:
        """What a call gives. Every third creation and every fifth look fail, like real clouds; never the very first."""
        now = time.time()
        machine = self.machines.get(name)
        self.calls += 1
        if method == "POST" and machine is None:
            tries = self.machines.setdefault("", {"tries": 0})
            tries["tries"] += 1
            if tries["tries"] % 3 == 0:
                return 503, {"error": "no capacity right now, try again"}
            address = f"10.0.0.{len(self.machines) + 1}"
            machine = {"name": name, **body, "ready_at": now + BOOT, "gone_at": None, "address": address}
            self.machines[name] = machine
        if method == "GET" and self.calls % 5 == 0:
            return 500, {"error": "internal error"}
        if method == "DELETE" and machine is not None and machine["gone_at"] is None:
            machine["gone_at"] = now + 1.5
        if machine is None:
            return (200, {"state": "gone"}) if method == "DELETE" else (404, {"error": f"no machine {name}"})
        gone_at = machine["gone_at"]
        state = "starting" if now < machine["ready_at"] else "ready"
        if gone_at is not None:
            state = "gone" if now >= gone_at else "deleting"
        return 200, {"name": name, "region": machine["region"], "state": state, "address": machine["address"]}

    def note(self, entry: dict) -> None:
        """Write down what was answered."""
        with (self.home / "ledger.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")
        draft = self.home / "machines.draft"
        draft.write_text(json.dumps(self.machines))
        draft.replace(self.home / "machines.json")


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Cloud

    def _answer(self) -> None:
        self.server.last = time.monotonic()
        if self.path == "/health":
            return self._send(200, {})
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        name = self.path.removeprefix("/vms/")
        time.sleep(0.2)
        with self.server.guard:
            status, answer = self.server.answer(self.command, name, body)
            self.server.note({"call": self.command, "name": name, "status": status, "time": time.time()})
        return self._send(status, answer)

    do_GET = do_POST = do_DELETE = _answer

    def _send(self, status: int, answer: dict) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the ledger says it better."""


def serve(home: Path) -> None:
    """Answer until nobody has asked for two minutes, or the folder is gone."""
    os.environ["CLOUD_DIR"] = str(home)
    server = Cloud(home)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while time.monotonic() - server.last < IDLE and home.exists():
        time.sleep(1)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
