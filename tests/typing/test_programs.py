"""What type checkers make of programs that use Flowbook.

``assert_type`` says what they know, and each ``type: ignore[code]`` is a mistake they have to find: one that they do
not find is an error as well.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import flowbook
from flowbook.api.source import load

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def checked(folder: Path, cache: Path, config: Path) -> None:
    typed = [sys.executable, "-m", "mypy", "--config-file", str(config), "--cache-dir", str(cache), str(folder)]
    done = subprocess.run(typed, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_programs_check_as_they_say(tmp_path: Path) -> None:
    programs = sorted((HERE / "programs").glob("*.py"))
    assert all("type: ignore[" in program.read_text() for program in programs)
    checked(HERE / "programs", tmp_path, ROOT / "pyproject.toml")


def test_modules_exported_from_notebooks_check(tmp_path: Path) -> None:
    exported = tmp_path / "exported"
    exported.mkdir()
    for file in (ROOT / "sample_notebooks").iterdir():
        if file.suffix == ".ipynb":
            (exported / f"{file.stem}.py").write_text(load(file)[0].source)
        elif file.suffix == ".py":
            (exported / file.name).write_text(file.read_text())
    # Cells have few annotations: what a checker can find is checked all the same.
    loose = tmp_path / "mypy.ini"
    loose.write_text("[mypy]\ncheck_untyped_defs = True\nignore_missing_imports = True\n")
    checked(exported, tmp_path, loose)


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(flowbook.__file__).parent / "py.typed").exists()
