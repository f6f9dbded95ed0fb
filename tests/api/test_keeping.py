"""Histories as things to keep: what is said when the engine is lost meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowbook.api import keeping
from flowbook.api.connection import connect
from flowbook.errors import EngineUnavailable, UserError
from tests.cli.fake import FakeClient


@pytest.mark.parametrize(("is_there", "said"), [(False, "Nothing was written to"), (True, "is there and whole")])
def test_an_export_whose_engine_is_lost_says_whether_there_is_a_file(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_there: bool, said: str
) -> None:
    target = tmp_path / "r.flow"

    def lost(ask: Any) -> Any:
        if is_there:
            target.write_text("")
        raise EngineUnavailable("the connection to the engine was lost before it answered.")

    monkeypatch.setattr(client, "ask", lost)
    with pytest.raises(EngineUnavailable, match=rf"before it answered\. .*{said}.*export again"):
        keeping.exported(connect(), "r", target)


@pytest.mark.parametrize("age", ["30", "30.5", " 7 "])
def test_an_age_without_a_unit_deletes_nothing(client: FakeClient, age: str) -> None:
    with pytest.raises(UserError, match="has no unit"):
        keeping.prune(older_than=age)
    assert client.said == []
