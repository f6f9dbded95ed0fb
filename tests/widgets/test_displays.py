from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flowbook.core.module import Module, Workflow
from flowbook.errors import EngineUnavailable
from flowbook.widgets import displays
from flowbook.widgets.displays import GRAPH, RUN, WIDGET, flow_graph, mimebundle, timeline
from tests.export import samples


def run(found: dict[str, Any]) -> Any:
    connection = SimpleNamespace(client=SimpleNamespace(home=Path("/project/.flowbook")))
    return SimpleNamespace(id=found["id"], _connection=connection, view=lambda at=None: found)


def page(path: Path) -> Any:
    return SimpleNamespace(path=path, module=Module("d", "m", "", (Workflow("provision_vm", samples.GRAPH),)))


def test_a_run_shows_without_a_kernel_in_every_static_form() -> None:
    view = samples.view()
    bundle = mimebundle(run(view))
    assert set(bundle) == {"text/plain", "text/html", RUN}
    assert bundle[RUN] == {"run": view["id"], "home": "/project/.flowbook", "view": view}
    assert "\n" not in bundle["text/plain"]
    json.dumps(bundle)


def test_a_graph_shows_where_no_engine_ever_worked_and_starts_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWBOOK_HOME", str(tmp_path / "home"))
    shown = flow_graph(page(tmp_path / "provision.ipynb"))
    bundle = shown._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", GRAPH}
    assert bundle[GRAPH]["view"] is None
    assert bundle[GRAPH]["graph"]["layout"]["boxes"]
    assert not (tmp_path / "home").exists()
    assert (
        repr(shown)
        == "graph of 9 steps: plan, create, wait_until_ready, fetch, approval, cool_down, record, notify, archive"
    )


def home_with_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: Any) -> None:
    (tmp_path / "token").write_text("t")
    monkeypatch.setenv("FLOWBOOK_HOME", str(tmp_path))
    monkeypatch.setattr(displays, "Client", client)


class FakeClient:
    """Knows two runs of two files."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __enter__(self) -> FakeClient:
        return self

    def __exit__(self, *_: object) -> None: ...

    def runs(self, limit: int) -> list[dict[str, Any]]:
        return [
            {"id": "other-1", "source": "/elsewhere/x.ipynb"},
            {"id": "mine-1", "source": str(self.home / "a.ipynb")},
        ]

    def view(self, id: str) -> dict[str, Any]:
        return samples.view(id=id)


def test_a_graph_is_coloured_by_the_newest_run_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home_with_engine(tmp_path, monkeypatch, FakeClient)
    bundle = flow_graph(page(tmp_path / "a.ipynb"))._repr_mimebundle_()
    assert bundle[GRAPH]["run"] == "mine-1"
    assert "mine-1" in bundle["text/html"]


def test_a_graph_shows_while_the_engine_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(home: Path) -> Any:
        raise EngineUnavailable("gone")

    home_with_engine(tmp_path, monkeypatch, lost)
    assert flow_graph(page(tmp_path / "a.ipynb"))._repr_mimebundle_()[GRAPH]["view"] is None


def test_a_timeline_is_a_picture() -> None:
    picture = timeline(samples.view())
    assert picture._repr_mimebundle_()["image/svg+xml"].startswith("<svg")
    assert repr(picture).startswith("provision_vm-3f2a91bc running")


def test_in_a_kernel_the_widget_comes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    def make(**traits: Any) -> Any:
        made.append(traits)
        return SimpleNamespace(model_id="m1")

    monkeypatch.setattr(displays, "_maker", lambda name: make)
    bundle = mimebundle(run(samples.view()))
    assert bundle[WIDGET]["model_id"] == "m1"
    assert made == [{"run": "provision_vm-3f2a91bc", "home": "/project/.flowbook", "view": bundle[RUN]["view"]}]
