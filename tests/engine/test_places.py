"""A run's place outlives the folder and the interpreter it is called after."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flowbook.core.events import Place
from flowbook.engine.places import Places
from flowbook.store.home import Home


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that has had an engine."""
    project = tmp_path / "before"
    (project / "notebooks").mkdir(parents=True)
    home = Home(project / ".flowbook")
    home.create()
    Places(home)
    return project


def test_what_is_where_it_was_is_itself(project: Path) -> None:
    place = Place(str(project / "notebooks"), sys.executable)
    assert Places(Home(project / ".flowbook")).now(place) == place


def test_a_project_that_was_moved_is_followed(project: Path, tmp_path: Path) -> None:
    python = project / "venv" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    place = Place(str(project / "notebooks"), str(python))
    for name in ("after", "at last"):
        moved = tmp_path / name
        project.rename(moved)
        project = moved
        found = Places(Home(project / ".flowbook")).now(place)
        assert found == Place(str(project / "notebooks"), str(project / "venv" / "python"))


def test_a_copy_does_not_take_what_is_the_originals(project: Path, tmp_path: Path) -> None:
    Home(tmp_path / "copy" / ".flowbook").create()
    (tmp_path / "copy" / ".flowbook" / "folders.json").write_bytes(
        (project / ".flowbook" / "folders.json").read_bytes()
    )
    (tmp_path / "copy" / "notebooks").mkdir()
    place = Place(str(project / "notebooks"), sys.executable)
    assert Places(Home(tmp_path / "copy" / ".flowbook")).now(place) == place


def test_the_engines_python_stands_in_for_one_that_is_gone(project: Path) -> None:
    place = Place(str(project / "notebooks"), str(project / "venv" / "python"))
    found = Places(Home(project / ".flowbook"), "/usr/bin/other").now(place)
    assert found == Place(place.folder, "/usr/bin/other")


def test_what_was_never_in_the_project_is_left_alone(project: Path) -> None:
    place = Place("/nowhere/at/all", sys.executable)
    assert Places(Home(project / ".flowbook")).now(place) == place


@pytest.mark.parametrize("spoilt", [b"", b"{", b"[1]"])
def test_a_spoilt_note_is_written_anew(project: Path, spoilt: bytes) -> None:
    home = Home(project / ".flowbook")
    home.folders.write_bytes(spoilt)
    Places(home)
    assert str(project) in home.folders.read_text()
