"""What a page that watches sees when the engine is killed under it, and where links and odd paths lead."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from flowbook.core.patch import patched
from tests.jupyter.asking import ask, notebook
from tests.jupyter.servers import Server
from tests.jupyter.test_runs import connected, heard, started

pytestmark = [pytest.mark.slow, pytest.mark.crash]

WAITS = notebook("#| step: begin\nfirst = 1", "#| step: ask\n#| wait: approval\nanswer = approval")
SMALL = notebook("#| step: one\nx = 1")


def test_a_killed_engine_comes_back_under_the_same_watch(server: Server) -> None:
    run = started(server, WAITS)

    async def follow() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        socket = await connected(server)
        await socket.write_message(json.dumps({"watch": run, "path": "a.ipynb"}))
        before = await heard(socket, lambda m: "waiting" in json.dumps(m))
        status = await asyncio.to_thread(ask, server, "GET", "status?path=a.ipynb")
        os.kill(status[1]["pid"], signal.SIGKILL)
        answer = {"path": "a.ipynb", "name": "approval", "value": "yes", "id": "once"}
        sent = await asyncio.to_thread(ask, server, "POST", f"runs/{run}/signal", answer)
        assert sent[0] == 200, sent
        after = await heard(socket, lambda m: m.get("last") or "error" in m)
        socket.close()
        return before, after

    before, after = asyncio.run(follow())
    assert not any("error" in message for message in before + after)
    # The old engine may have had something more to say; after a loss the whole view comes first.
    assert any("view" in message for message in after)
    view: Any = None
    for message in before + after:
        if "view" in message:
            view = message["view"]
        elif "patch" in message:
            view = patched(view, message["patch"])
    assert view["status"] == "succeeded"
    assert view["steps"]["ask"]["values"]["answer"]["json"] == "yes"


def test_a_linked_folder_is_part_of_the_files(server: Server, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "pyproject.toml").write_text("")
    (server.root / "linked").symlink_to(tmp_path / "elsewhere")
    status, page = ask(server, "POST", "compile", {"path": "linked/a.ipynb", "content": SMALL})
    assert (status, page["file"]) == (200, str(tmp_path / "elsewhere" / "a.ipynb"))
    assert page["home"] == str(tmp_path / "elsewhere" / ".flowbook")


@pytest.mark.parametrize(
    ("method", "route", "body", "words"),
    [
        ("POST", "compile", {"path": "a\0.ipynb", "content": SMALL}, "outside the folder"),
        ("POST", "compile", {"path": "linked/../../x.ipynb", "content": SMALL}, "outside the folder"),
        ("GET", "runs/x/view?path=a.ipynb&at=%C2%B2", None, "'at' must be the number of an event"),
    ],
)
def test_odd_requests_are_mistakes_not_failures(server: Server, method: str, route: str, body: Any, words: str) -> None:
    status, answer = ask(server, method, route, body)
    assert (status, words in answer["error"]["message"]) == (400, True), answer


@pytest.mark.parametrize("at", ["x", [1], 2.5, True])
def test_a_fork_wants_the_number_of_an_event(server: Server, at: Any) -> None:
    run = started(server, SMALL, id="forked")
    status, answer = ask(server, "POST", f"runs/{run}/fork", {"path": "a.ipynb", "at": at, "plan": True})
    assert (status, answer["error"]["type"]) == (400, "UserError")
