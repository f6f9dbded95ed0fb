"""The front doors talk to a client that answers from memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowbook.api import connection as connection_module
from tests.cli.fake import FakeClient


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """The front doors talk to this."""
    fake = FakeClient(tmp_path)
    monkeypatch.setenv("FLOWBOOK_HOME", str(tmp_path))
    monkeypatch.setattr("flowbook.client.Client", lambda home, start=True: fake, raising=False)
    monkeypatch.setattr(connection_module, "_clients", {})
    return fake
