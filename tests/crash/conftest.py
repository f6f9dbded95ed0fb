from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.project import Project


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.setenv("FLOWBOOK_RECONNECT_GRACE", "2")
    with tempfile.TemporaryDirectory(prefix="flowbook-crash-") as folder:
        made = Project(Path(folder))
        yield made
        made.close()
