"""Every test here gets a fresh project."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.project import ROOT, Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A fresh project; its engine is stopped afterwards."""
    for sample in (ROOT / "sample_notebooks").iterdir():
        if sample.is_file():
            shutil.copy(sample, tmp_path / sample.name)
    made = Project(tmp_path)
    yield made
    made("engine", "stop", "--now", code=None)
