from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.project import Project


@pytest.fixture(params=["", "1"], ids=["held", "evicted"])
def project(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Once as users have it, and once with every run dropped from memory whenever it waits."""
    monkeypatch.setenv("FLOWBOOK_ALWAYS_EVICT", request.param)
    monkeypatch.setenv("FLOWBOOK_RECONNECT_GRACE", "2")
    # A worker that is on its way out may still write into it.
    with tempfile.TemporaryDirectory(prefix="flowbook-crash-", ignore_cleanup_errors=True) as folder:
        made = Project(Path(folder))
        yield made
        made.close()
