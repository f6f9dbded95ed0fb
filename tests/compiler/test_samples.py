"""The sample notebooks keep their promises: clean, tidy on disk, and running top to bottom without Flowbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest

from flowbook import compiler

FOLDER = Path(__file__).parents[2] / "sample_notebooks"
SAMPLES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))

TOP_TO_BOTTOM = """
import json, sys
sys.modules["flowbook"] = None
sys.path.insert(0, sys.argv[1])
space = {"__name__": "__main__"}
for cell in json.load(open(f"{sys.argv[1]}/{sys.argv[2]}.ipynb"))["cells"]:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), cell["id"], "exec"), space)
"""


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.ipynb").read_text())
    return found


def test_there_are_samples() -> None:
    assert {"approval", "provision_vm", "weather_report"} <= set(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_is_found_in_it(name: str) -> None:
    result = compiler.compile_notebook(read(name), name)
    assert result.module is not None and result.diagnostics == ()


@pytest.mark.parametrize("name", SAMPLES)
def test_it_is_tidy(name: str) -> None:
    page = read(name)
    nbformat.validate(page)
    assert (page["nbformat"], page["nbformat_minor"]) == (4, 5)
    assert page["metadata"]["kernelspec"]["name"] == "python3"
    assert page["cells"][0]["cell_type"] == "markdown" and page["cells"][0]["source"][0].startswith("# ")
    for cell in page["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None
        assert len(cell["source"]) <= 14, "a few lines a cell"


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_it_runs_top_to_bottom_without_flowbook(name: str, tmp_path: Path) -> None:
    cloud = tmp_path / "cloud"
    surroundings = {**os.environ, "CLOUD_DIR": str(cloud), "CLOUD_BOOT": "1", "MPLBACKEND": "Agg"}
    command = [sys.executable, "-c", TOP_TO_BOTTOM, str(FOLDER), name]
    done = subprocess.run(command, env=surroundings, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_cloud_remembers_when_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("CLOUD_DIR", str(tmp_path / "cloud"))
    monkeypatch.setenv("CLOUD_BOOT", "0")
    monkeypatch.syspath_prepend(str(FOLDER))
    import cloud

    request.addfinalizer(lambda: sys.modules.pop("cloud", None))
    machine = cloud.create("vm-1", "eu", 2)
    kill_server(tmp_path / "cloud")
    assert cloud.create("vm-1", "eu", 2) == {**machine, "state": "ready"}
    assert cloud.delete("vm-1") is False
    kill_server(tmp_path / "cloud")
    assert until_gone(cloud)
    kinds = [(call["call"], call["status"]) for call in cloud.ledger()]
    assert kinds[:3] == [("POST", 200), ("POST", 200), ("DELETE", 200)]
    kill_server(tmp_path / "cloud")


def until_gone(cloud: Any) -> bool:
    return any(cloud.delete("vm-1") or time.sleep(0.2) for _ in range(50))


def kill_server(folder: Path) -> None:
    """Kill the one server that keeps its state in this folder."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(folder).encode() in words and any(word.endswith(b"cloud.py") for word in words):
            os.kill(int(process.parent.name), 9)
