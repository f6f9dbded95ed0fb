"""A server that is told to stop while pages still ask it."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from flowbook.errors import EngineUnavailable
from flowbook.jupyter.projects import Projects
from tests.engine.processes import eventually
from tests.jupyter.asking import ask, notebook
from tests.jupyter.servers import Server, serving

LONG = notebook(*[f"#| step: s{number}\nx{number} = x{number - 1} + 1" for number in range(1, 6000)])


@pytest.mark.slow
def test_a_server_ends_although_it_compiles_for_a_page(tmp_path: Path) -> None:
    root, private = tmp_path / "project", tmp_path / "private"
    root.mkdir()
    private.mkdir()
    with serving(root, private, "jupyter_server") as server:
        threads = Path(f"/proc/{server.process.pid}/task")
        assert ask(server, "GET", "runs?path=a.ipynb")[0] == 200
        before = len(os.listdir(threads))
        asker = threading.Thread(target=compile_long, args=(server,))
        asker.start()
        eventually(lambda: len(os.listdir(threads)) > before)
        server.process.terminate()
        server.process.wait(60)
        asker.join()


def compile_long(server: Server) -> None:
    with suppress(OSError, HTTPException):
        ask(server, "POST", "compile", {"path": "a.ipynb", "content": LONG})


@pytest.mark.anyio
async def test_nothing_is_opened_for_pages_that_ask_until_the_end(tmp_path: Path) -> None:
    projects = Projects(tmp_path)
    before = projects.of_root()
    await projects.close()
    for project in (before, projects.of_root(), projects.of_notebook("other/a.ipynb")):
        with pytest.raises(EngineUnavailable, match="about to end"):
            await project.client()
