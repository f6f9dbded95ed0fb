"""A project of its own for each test: a copy of the samples, a state folder, the real command, engine and workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
JUPYTER = (
    "IPython",
    "ipykernel",
    "ipywidgets",
    "anywidget",
    "jupyter_server",
    "jupyterlab",
    "jupyter_client",
    "nbformat",
)


class Project:
    """A folder with notebooks, and ``flowbook`` to be called in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "FLOWBOOK_HOME": str(folder / ".flowbook"),
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
        }

    def __call__(
        self, *arguments: object, code: int | None = 0, timeout: float = 90
    ) -> subprocess.CompletedProcess[str]:
        """Run ``flowbook ARGUMENTS``; it must leave with ``code``."""
        found = subprocess.run(
            [sys.executable, "-m", "flowbook", *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert code is None or found.returncode == code, f"exit {found.returncode}\n{found.stdout}\n{found.stderr}"
        assert "Traceback" not in found.stderr, found.stderr
        return found

    def json(self, *arguments: object, code: int | None = 0, timeout: float = 90) -> Any:
        """The one JSON document that ``flowbook ARGUMENTS --json`` prints."""
        return json.loads(self(*arguments, "--json", code=code, timeout=timeout).stdout)

    def without_jupyter(self) -> None:
        """From now on, importing anything of Jupyter fails in every process of this project."""
        blocked = self.folder / "blocked"
        for name in JUPYTER:
            (blocked / name).mkdir(parents=True)
            (blocked / name / "__init__.py").write_text(f"raise ImportError('{name} is not installed here')\n")
        self.environment["PYTHONPATH"] = f"{blocked}{os.pathsep}{ROOT}"

    def notebook(self, name: str, *cells: str) -> Path:
        """Write a notebook of these code cells."""
        document = {
            "cells": [
                {
                    "cell_type": "code",
                    "id": f"cell{number}",
                    "metadata": {},
                    "outputs": [],
                    "execution_count": None,
                    "source": source,
                }
                for number, source in enumerate(cells, 1)
            ],
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        path = self.folder / name
        path.write_text(json.dumps(document))
        return path

    def ledger(self) -> list[str]:
        """What the steps really did, in order: they append lines to ledger.txt."""
        path = self.folder / "ledger.txt"
        return path.read_text().splitlines() if path.exists() else []
