"""The engine as a process: found, started once, killed, refused, and gone when its work is done."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import msgspec
import pytest

from flowbook.client import AsyncClient, Client, launch
from flowbook.core import events as e
from flowbook.core.ids import Digest
from flowbook.core.module import Module
from flowbook.core.value import Value
from flowbook.errors import EngineUnavailable
from flowbook.store.home import Home
from tests.engine.processes import eventually, is_free, is_running

pytestmark = pytest.mark.slow

ONE = Value("json", msgspec.Raw(b"1"), size=1)
NOWHERE = e.Place("/nowhere", sys.executable)


def engine(home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "flowbook.engine", "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, **environment},
    )


def test_many_who_come_at_once_find_one_engine(home: Path) -> None:
    with ThreadPoolExecutor(6) as threads:
        pids = set(threads.map(lambda _: launch.ensure_engine(home).pid, range(6)))
    assert len(pids) == 1


def test_the_folder_the_token_and_the_socket_are_private(home: Path) -> None:
    address = launch.ensure_engine(home)
    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / "token").stat().st_mode & 0o777 == 0o600
    assert Path(address.socket).stat().st_mode & 0o777 == 0o600


def test_a_second_engine_names_the_first_and_leaves(home: Path) -> None:
    first = launch.ensure_engine(home)
    second = engine(home)
    assert second.returncode == 2
    assert f"another engine (process {first.pid})" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_wrong_token_is_refused(home: Path) -> None:
    launch.ensure_engine(home)
    token = (home / "token").read_text()
    (home / "token").write_text("guess")
    with Client(home) as client, pytest.raises(EngineUnavailable, match="token is wrong"):
        client.status()
    (home / "token").write_text(token)
    with Client(home) as client:
        assert client.status()["open_runs"] == 0


def test_a_killed_engine_is_started_again_and_asked_again(home: Path) -> None:
    with Client(home) as client:
        client.put_module(Module(Digest("m"), "m", ""))
        client.start("r", "flow", "m", NOWHERE)
        before = client.status()["pid"]
        os.kill(before, signal.SIGKILL)
        assert client.run("r")["id"] == "r"
        assert client.status()["pid"] != before
        client.signal("r", "go", ONE, id="x")
        client.signal("r", "go", ONE, id="x")
        os.kill(client.status()["pid"], signal.SIGKILL)
        kinds = [type(recorded.event).__name__ for recorded in client.history("r")]
        assert kinds.count("SignalReceived") == 1


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_an_engine_that_is_killed_before_it_is_connected_to_is_started_again(
    home: Path, kind: type[Client] | type[AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []

    def found(home: Path, timeout: float) -> launch.Address:
        address = ensure(home, timeout)
        if not killed:
            killed.append(address.pid)
            os.kill(address.pid, signal.SIGKILL)
            eventually(lambda: not is_running(address.pid))
        return address

    ensure = launch.ensure_engine
    monkeypatch.setattr(launch, "ensure_engine", found)
    if kind is Client:
        with Client(home) as client:
            pid = client.status()["pid"]
    else:
        pid = anyio.run(_pid, home)
    assert pid not in killed and is_running(pid)


async def _pid(home: Path) -> int:
    async with AsyncClient(home) as client:
        return (await client.status())["pid"]


def test_a_wait_goes_on_over_a_killed_engine(home: Path) -> None:
    with Client(home) as client, ThreadPoolExecutor(1) as threads:
        client.put_module(Module(Digest("m"), "m", ""))
        client.start("r", "flow", "m", NOWHERE)
        pid = client.status()["pid"]
        waiting = threads.submit(client.wait, "r", 20.0)
        os.kill(pid, signal.SIGKILL)
        assert waiting.result(20)["status"] == "paused"


def test_a_place_that_is_gone_pauses_the_run_and_says_so(home: Path) -> None:
    with Client(home) as client:
        client.put_module(Module(Digest("m"), "m", ""))
        client.start("r", "flow", "m", NOWHERE)
        assert "/nowhere" in client.wait("r", 20.0)["reason"]


def test_without_an_engine_and_without_leave_to_start_one_it_is_said(home: Path) -> None:
    with Client(home, start=False) as client, pytest.raises(EngineUnavailable, match="flowbook engine start"):
        client.signal("r", "go", ONE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(home: Path, number: signal.Signals) -> None:
    address = launch.ensure_engine(home)
    os.kill(address.pid, number)
    eventually(lambda: not is_running(address.pid))
    assert not (home / "engine.json").exists() and not Path(address.socket).exists()
    assert "Traceback" not in (home / "logs" / "engine.log").read_text()


def test_it_stops_when_asked_and_says_goodbye(home: Path) -> None:
    with Client(home) as client:
        pid = client.status()["pid"]
        client.stop()
        eventually(lambda: not is_running(pid))
        assert client.status()["pid"] != pid


def test_it_leaves_when_there_is_nothing_to_do(home: Path) -> None:
    assert engine(home, FLOWBOOK_IDLE_EXIT="1").returncode == 0


def test_it_leaves_when_its_folder_is_gone(home: Path) -> None:
    pid = launch.ensure_engine(home).pid
    shutil.rmtree(home)
    eventually(lambda: not is_running(pid))


def test_what_a_power_cut_leaves_behind_is_in_nobodys_way(home: Path) -> None:
    paths = Home(home)
    paths.create()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(paths.socket))
    paths.engine_lock.write_text("4242")
    paths.launch_lock.write_text("")
    paths.address.write_bytes(msgspec.json.encode({"pid": 4242, "socket": str(paths.socket), "home": str(home)}))
    paths.token.write_text("old")
    with Client(home) as client:
        assert client.status()["pid"] != 4242


def test_a_socket_that_somebody_else_has_taken_is_named(home: Path) -> None:
    paths = Home(home)
    paths.create()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as taken:
        taken.bind(str(paths.socket))
        taken.listen()
        with pytest.raises(EngineUnavailable, match="another program listens on"):
            launch.ensure_engine(home)


def test_a_file_in_the_place_of_the_socket_is_named(home: Path) -> None:
    paths = Home(home)
    paths.create()
    paths.socket.write_text("mine")
    with pytest.raises(EngineUnavailable, match="in the way"):
        launch.ensure_engine(home)
    assert paths.socket.read_text() == "mine"


def test_a_long_path_works(home: Path) -> None:
    deep = home / ("d" * 60) / ("e" * 60) / ".flowbook"
    with Client(deep) as client:
        assert client.status()["home"] == str(deep)
        client.stop()
    eventually(lambda: is_free(deep))


def test_a_database_held_by_another_process_is_named_to_the_client(home: Path) -> None:
    launch.ensure_engine(home)
    with Client(home) as client:
        client.stop()
    eventually(lambda: is_free(home))
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(home / "flowbook.duckdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        holder.stdout.readline()
        with pytest.raises(EngineUnavailable, match=f"held by process {holder.pid}"):
            launch.ensure_engine(home)
        holder.stdin.close()
        holder.wait()
    with Client(home) as client:
        assert client.status()["notices"] == []


def test_damage_is_mended_and_told(home: Path) -> None:
    with Client(home) as client:
        client.put_module(Module(Digest("m"), "m", ""))
        client.start("r", "flow", "m", NOWHERE)
        client.wait("r", 20.0)
        client.stop()
    eventually(lambda: is_free(home))
    (home / "flowbook.duckdb").write_bytes(b"no database")
    with Client(home) as client:
        assert "nothing is missing" in client.status()["notices"][0]
        assert client.run("r")["status"] == "paused"
        assert client.sql("select count(*) from runs")["rows"] == [[1]]


def test_a_copy_of_the_folder_has_an_engine_of_its_own(home: Path) -> None:
    with Client(home) as client:
        client.put_module(Module(Digest("m"), "m", ""))
        client.start("r", "flow", "m", NOWHERE)
        client.wait("r", 20.0)
        ours = client.status()["pid"]
    copy = home.parent / "copy" / ".flowbook"
    copy.mkdir(parents=True)
    for name in ("engine.json", "token"):
        shutil.copy(home / name, copy / name)
    assert launch.read_address(copy) is None and launch.running_engine(copy) is None
    with Client(copy) as client:
        theirs = client.status()
        client.stop(0.0)
    assert theirs["pid"] != ours and theirs["home"] == str(copy) and theirs["open_runs"] == 0
    eventually(lambda: is_free(copy))


def test_a_folder_may_be_called_by_another_name(home: Path) -> None:
    with Client(home) as client:
        pid = client.status()["pid"]
    link = home.parent / ("l" * 90)
    link.symlink_to(home.parent)
    with Client(link / ".flowbook") as client:
        assert client.status()["pid"] == pid


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FLOWBOOK_IDLE_EXIT", "soon", "not a duration"),
        ("FLOWBOOK_RECONNECT_GRACE", "-1", "not a duration"),
        ("FLOWBOOK_WORKER_SILENCE", "1x", "not a duration"),
        ("FLOWBOOK_RETENTION", "30", "has no unit"),
        ("FLOWBOOK_BLOCK_BUDGET", "long", "not a duration"),
        ("FLOWBOOK_WORKER_THREADS", "many", "not a whole number"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(home: Path, name: str, value: str, said: str) -> None:
    found = engine(home, **{name: value})
    assert found.returncode == 2 and f"{name} is set to '{value}'" in found.stderr and said in found.stderr
    assert "Traceback" not in found.stderr


def test_where_the_state_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWBOOK_HOME", raising=False)
    inner = tmp_path / "project" / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").touch()
    assert launch.find_home(inner) == tmp_path / "project" / ".flowbook"
    (inner / ".git").mkdir()
    assert launch.find_home(inner) == inner / ".flowbook"
    monkeypatch.setenv("FLOWBOOK_HOME", str(tmp_path / "other"))
    assert launch.find_home(inner) == tmp_path / "other"
