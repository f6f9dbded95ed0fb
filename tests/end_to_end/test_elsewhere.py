"""A project that is moved to another folder, and whose Python is gone: its runs go on, and its past is still seen."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.project import Project

pytestmark = pytest.mark.slow

FLOW = """
import os
import sys

from flowbook import signal, step, workflow


@step
def whereabouts() -> list:
    with open("ledger.txt", "a") as file:
        file.write(f"{os.getcwd()}\\n")
    return [os.getcwd(), sys.executable]


@workflow
async def journey():
    before = await whereabouts()
    await signal("go")
    return [before, await whereabouts()]
"""


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment in the project, that has what this one has."""
    folder = tmp_path / "before" / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", folder], check=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "all.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    return folder / "bin" / "python"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    (tmp_path / "before").mkdir(exist_ok=True)
    (tmp_path / "before" / "journey.py").write_text(FLOW)
    made = Project(tmp_path / "before")
    yield made
    Project(tmp_path / "after")("engine", "stop", "--now", code=None)


def started(project: Project, python: Path) -> None:
    """Run ``j`` of ``journey`` has done its first step, with this Python, and waits."""
    found = subprocess.run(
        [python, "-m", "flowbook", "run", "journey.py", "--id", "j", "--detach"],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    deadline = time.monotonic() + 60
    while project.json("show", "j")["status"] != "waiting":
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("is_kept", [True, False], ids=["the venv goes along", "the venv is gone"])
def test_runs_go_on_where_the_project_is_now(project: Project, venv: Path, tmp_path: Path, is_kept: bool) -> None:
    started(project, venv)
    project("engine", "stop")
    if not is_kept:
        os.rename(venv.parents[1], tmp_path / "no venv")
    project.folder.rename(tmp_path / "after")
    after = Project(tmp_path / "after")
    after("signal", "j", "go")
    before, since = after.json("watch", "j")["result"]
    assert before == [str(tmp_path / "before"), str(venv)]
    python = tmp_path / "after" / "venv" / "bin" / "python" if is_kept else sys.executable
    assert since == [str(tmp_path / "after"), str(python)]
    assert after.ledger() == [before[0], since[0]]
    assert "whereabouts" in after("at", "j", "2").stdout
