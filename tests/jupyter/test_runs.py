"""What a notebook does through the server, against a real engine: compile, run, look, fork, signal, watch."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from tests.jupyter.asking import ask, finished, notebook
from tests.jupyter.servers import Server

pytestmark = pytest.mark.slow

DOUBLES = notebook("#| params\ncount = 3", "#| step: double\ntwice = count * 2", "#| step: show\ntext = f'got {twice}'")
CHANGED = notebook("#| params\ncount = 3", "#| step: double\ntwice = count * 2", "#| step: show\ntext = f'now {twice}'")
OUTSIDE = notebook("#| step: sign\n#| external\nsigned = None")
WAITS = notebook("#| step: ask\n#| wait: approval\nanswer = approval", "#| step: say\ntext = str(answer)")
BROKEN = notebook("#| step: oops\nx = (1 +")


def started(server: Server, content: dict[str, Any], **more: Any) -> str:
    status, summary = ask(server, "POST", "runs", {"path": "a.ipynb", "content": content, **more})
    assert status == 201, summary
    return str(summary["id"])


def test_the_live_notebook_is_compiled_with_positions(server: Server) -> None:
    status, page = ask(server, "POST", "compile", {"path": "a.ipynb", "content": DOUBLES})
    assert status == 200
    assert [node["id"] for node in page["graph"]["nodes"]][-2:] == ["double", "show"]
    assert page["graph"]["nodes"][-1]["cell"] == "c3"
    assert set(page["graph"]["layout"]["boxes"]) == {node["id"] for node in page["graph"]["nodes"]}
    assert page["parameters"][0]["name"] == "count"
    assert page["diagnostics"] == []
    assert page["file"] == str(server.root / "a.ipynb")


def test_a_notebook_that_does_not_compile_says_where(server: Server) -> None:
    status, page = ask(server, "POST", "compile", {"path": "a.ipynb", "content": BROKEN})
    found = page["diagnostics"][0]
    assert (status, found["cell"], found["severity"], found["line"]) == (200, "c1", "error", 2)
    status, answer = ask(server, "POST", "runs", {"path": "a.ipynb", "content": BROKEN})
    assert (status, answer["error"]["type"]) == (422, "CompileError")
    assert answer["error"]["diagnostics"][0] == found
    assert "Cell 1, line" in answer["error"]["message"]


def test_a_run_from_start_to_history(server: Server) -> None:
    run = started(server, DOUBLES, texts={"count": "21"})
    view = finished(server, run)
    assert view["status"] == "succeeded"
    assert view["steps"]["show"]["values"]["text"]["json"] == "got 42"
    history = ask(server, "GET", f"runs/{run}/history?path=a.ipynb")[1]
    assert [recorded["seq"] for recorded in history] == list(range(1, view["seq"] + 1))
    then = ask(server, "GET", f"runs/{run}/view?path=a.ipynb&at=1")[1]
    assert then["steps"].get("show", {}).get("status", "not reached") == "not reached"
    listed = ask(server, "GET", "runs?path=a.ipynb")[1]
    assert listed["runs"][0]["id"] == run
    assert listed["file"] == listed["runs"][0]["source"]
    status, moment = ask(server, "GET", f"runs/{run}/at?path=a.ipynb&at={view['seq']}")
    assert (status, moment["event"]) == (200, view["seq"])


def test_the_same_id_is_the_same_run(server: Server) -> None:
    first = started(server, DOUBLES, id="same", arguments={"count": 1})
    assert started(server, DOUBLES, id="same", arguments={"count": 1}) == first
    status, answer = ask(
        server, "POST", "runs", {"path": "a.ipynb", "content": DOUBLES, "id": "same", "arguments": {"count": 2}}
    )
    assert (status, answer["error"]["type"]) == (409, "RunConflict")


def test_wrong_arguments_are_refused_before_anything_runs(server: Server) -> None:
    body = {"path": "a.ipynb", "content": DOUBLES}
    status, answer = ask(server, "POST", "runs", {**body, "texts": {"cuont": "1"}})
    assert (status, answer["error"]["type"]) == (400, "UserError")
    assert "did you mean 'count'" in answer["error"]["message"]


def test_a_fork_is_planned_and_then_started(server: Server) -> None:
    run = started(server, DOUBLES)
    finished(server, run)
    body = {"path": "a.ipynb", "content": CHANGED}
    plan = ask(server, "POST", f"runs/{run}/fork", {**body, "plan": True})[1]
    actions = {row["step"]: (row["action"], row["reason"]) for row in plan["rows"]}
    assert actions["double"][0] == "reuse"
    assert actions["show"] == ("rerun", "its code changed")
    status, made = ask(server, "POST", f"runs/{run}/fork", body)
    assert (status, made["origin"]["run"]) == (201, run)
    view = finished(server, made["id"])
    assert [view["steps"][name]["status"] for name in ("double", "show")] == ["reused", "done"]
    assert view["steps"]["show"]["values"]["text"]["json"] == "now 6"


def test_a_run_that_nobody_knows(server: Server) -> None:
    started(server, DOUBLES)
    status, answer = ask(server, "GET", "runs/nobody?path=a.ipynb")
    assert (status, answer["error"]["type"]) == (404, "UnknownRun")


def test_a_signal_wakes_the_run_and_a_stopped_one_takes_none(server: Server) -> None:
    run = started(server, WAITS)
    status, _ = ask(server, "POST", f"runs/{run}/signal", {"path": "a.ipynb", "name": "approval", "value": "yes"})
    assert status == 200
    assert finished(server, run)["steps"]["say"]["values"]["text"]["json"] == "yes"
    other = started(server, WAITS)
    assert ask(server, "POST", f"runs/{other}/cancel", {"path": "a.ipynb"})[0] == 200
    assert finished(server, other)["status"] == "cancelled"
    status, answer = ask(server, "POST", f"runs/{other}/signal", {"path": "a.ipynb", "name": "approval", "value": 1})
    assert (status, answer["error"]["type"]) == (409, "RunClosed")


def test_a_step_outside_is_finished_by_its_token_and_a_run_is_terminated(server: Server) -> None:
    run = started(server, OUTSIDE)
    (wait,) = outside(server, run)
    given = {"path": "a.ipynb", "token": wait["token"], "value": "Ines"}
    other = started(server, OUTSIDE)
    status, answer = ask(server, "POST", f"runs/{other}/complete", given)
    assert (status, "of another run" in answer["error"]["message"]) == (400, True)
    assert ask(server, "POST", f"runs/{run}/complete", given)[0] == 200
    assert finished(server, run)["steps"]["sign"]["values"]["signed"]["json"] == "Ines"
    outside(server, other)
    assert ask(server, "POST", f"runs/{other}/terminate", {"path": "a.ipynb", "reason": "enough"})[0] == 200
    ended = finished(server, other)
    assert (ended["status"], ended["reason"]) == ("terminated", "enough")


def test_what_an_ended_run_owes_is_tried_again_or_settled(server: Server) -> None:
    content = notebook(
        "#| step: create\n#| undo: delete\nvm = 'vm-7'",
        "#| step: delete\n#| retries: 1\n#| backoff: 10ms\nraise RuntimeError('locked')",
        "#| step: check\n#| needs: create\nraise ValueError('broken')",
    )
    run = started(server, content)
    (owed,) = finished(server, run)["obligations"]
    assert (owed["status"], owed["undo"], owed["ended"]) == ("failed", "delete", None)
    asked = {"path": "a.ipynb", "key": owed["key"]}
    status, summary = ask(server, "POST", f"runs/{run}/retry", asked)
    (trying,) = summary["obligations"]
    assert (status, trying["trying"].startswith(f"{run}.retry-")) == (200, True)
    finished(server, trying["trying"])
    status, answer = ask(server, "POST", f"runs/{run}/settle", asked)
    assert (status, "say what became of it" in answer["error"]["message"]) == (400, True)
    status, summary = ask(server, "POST", f"runs/{run}/settle", {**asked, "note": "deleted in the console"})
    assert (status, summary["obligations"]) == (200, [])
    status, answer = ask(server, "POST", f"runs/{run}/retry", {"path": "a.ipynb"})
    assert (status, "'key' is missing" in answer["error"]["message"]) == (400, True)


def outside(server: Server, run: str) -> list[dict[str, Any]]:
    """The run's waits for answers from outside, once there is one."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        view = ask(server, "GET", f"runs/{run}/view?path=a.ipynb")[1]
        found = [wait for wait in view["waits"] if wait["kind"] == "outside"]
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{run} waits for nothing outside")


def test_a_paused_run_says_why_and_goes_on(server: Server) -> None:
    run = started(server, notebook("import made_later", "#| step: use\nfound = made_later.VALUE"))
    view = finished(server, run)
    assert (view["status"], "made_later" in view["error"]["message"]) == ("paused", True)
    (server.root / "made_later.py").write_text("VALUE = 3")
    assert ask(server, "POST", f"runs/{run}/resume", {"path": "a.ipynb"})[0] == 200
    end = time.monotonic() + 30
    while (view := finished(server, run))["status"] == "paused" and time.monotonic() < end:
        time.sleep(0.05)
    assert (view["status"], view["steps"]["use"]["values"]["found"]["json"]) == ("succeeded", 3)


def test_export_gives_readable_python(server: Server) -> None:
    answer = ask(server, "POST", "export", {"path": "a.ipynb", "content": DOUBLES})[1]
    assert answer["name"] == "a.py"
    compile(answer["source"], "a.py", "exec")
    assert "def double(count" in answer["source"]


async def connected(server: Server) -> Any:
    request = HTTPRequest(f"{server.ws}/flowbook/ws", headers={"Authorization": f"token {server.token}"})
    return await websocket_connect(request)


async def heard(socket: Any, want: Any) -> list[dict[str, Any]]:
    """Messages up to the first that ``want`` accepts."""
    messages: list[dict[str, Any]] = []
    while not messages or not want(messages[-1]):
        messages.append(json.loads(await asyncio.wait_for(socket.read_message(), 30)))
    return messages


async def left(socket: Any) -> None:
    """Close it, and wait until it is closed: with its loop gone nobody would close what is beneath it."""
    socket.close()
    while await asyncio.wait_for(socket.read_message(), 30) is not None:
        pass


def test_a_stranger_gets_no_socket(server: Server) -> None:
    async def knock() -> None:
        await websocket_connect(f"{server.ws}/flowbook/ws")

    with pytest.raises(HTTPClientError) as refused:
        asyncio.run(knock())
    assert refused.value.code == 403


def test_a_watched_run_is_followed_to_its_end(server: Server) -> None:
    run = started(server, WAITS)

    async def follow() -> list[dict[str, Any]]:
        socket = await connected(server)
        await socket.write_message(json.dumps({"watch": run, "path": "a.ipynb", "as": "mine"}))
        first = await heard(socket, lambda m: "view" in m)
        await asyncio.to_thread(
            ask, server, "POST", f"runs/{run}/signal", {"path": "a.ipynb", "name": "approval", "value": 7}
        )
        rest = await heard(socket, lambda m: m.get("last"))
        await left(socket)
        return [*first, *rest]

    messages = asyncio.run(follow())
    assert {(m["id"], m["as"]) for m in messages} == {(run, "mine")}
    assert "view" in messages[0]
    patches = [m["seq"] for m in messages if "patch" in m]
    assert patches == sorted(patches)
    assert patches


def test_the_list_of_runs_is_live_and_a_wrong_watch_is_explained(server: Server) -> None:
    async def follow() -> tuple[list[dict[str, Any]], str]:
        socket = await connected(server)
        await socket.write_message(json.dumps({"watch": "*", "path": "a.ipynb"}))
        await heard(socket, lambda m: "runs" in m)
        run = await asyncio.to_thread(started, server, DOUBLES)
        listed = await heard(socket, lambda m: any(r["id"] == run for r in m.get("runs", [])))
        await socket.write_message(json.dumps({"unwatch": "*"}))
        await socket.write_message(json.dumps({"watch": "nobody", "path": "a.ipynb"}))
        wrong = await heard(socket, lambda m: "error" in m)
        await socket.write_message(json.dumps({"watch": "nobody"}))
        lost = await heard(socket, lambda m: "error" in m)
        await left(socket)
        return [wrong[-1], lost[-1]], listed[-1]["home"]

    errors, home = asyncio.run(follow())
    assert [m["error"]["type"] for m in errors] == ["UnknownRun", "UserError"]
    assert home == str(server.root / ".flowbook")
    # A state folder is a way to name the project too; it is how widgets do it.
    assert ask(server, "GET", f"runs?home={home}")[0] == 200
