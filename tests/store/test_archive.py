"""The file of a run: whatever is in the way is said, and a damaged one is never taken for a whole one."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import msgspec
import pytest

from flowbook.core.events import Recorded
from flowbook.core.ids import Digest, RunId
from flowbook.core.module import Module
from flowbook.errors import FlowbookError, UserError
from flowbook.store import archive
from flowbook.store.values import ValueFiles
from tests.store.conftest import group

BODY = msgspec.json.encode(Module(Digest("m"), "flow", "source"))
LONG = "x" * 300


def written(path: Path) -> list[Recorded]:
    entries = group("r").entries
    records = [entry.record for entry in entries]
    archive.write(path, RunId("r"), "0.1", records, lambda digest: BODY, ValueFiles(path.parent / "values"))
    return [entry.recorded for entry in entries]


def read(path: Path) -> list[Recorded]:
    with archive.opened(path) as file:
        events = list(file.records())
        assert len(list(file.modules())) == 1
        file.take_values(ValueFiles(path.parent / "values"))
        return events


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert written(tmp_path / "r.flow") == read(tmp_path / "r.flow")


def test_a_byte_that_was_changed_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    whole = tmp_path / "r.flow"
    events = written(whole)
    data = whole.read_bytes()
    directory = data.index(b"PK\x01\x02")
    chance = random.Random(1)
    places = [*range(directory, len(data)), *chance.sample(range(directory), 100)]
    bad = tmp_path / "bad.flow"
    for place in places:
        for flip in (0xFF, 1 << chance.randrange(8)):
            bad.write_bytes(data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :])
            try:
                assert read(bad) == events
            except UserError as error:
                assert "nothing was imported" in str(error) or "cannot be read" in str(error)


@pytest.mark.parametrize("name", ["none.flow", "folder", "a\0b", LONG, f"{LONG}/r.flow"])
def test_what_is_no_file_cannot_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"cannot be read|is no file"):
        read(tmp_path / name)


def test_nobody_waits_for_the_other_end_of_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is no file"):
        read(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["none/r.flow", "a\0b", LONG, f"{LONG}/r.flow", "file/r.flow"])
def test_where_nothing_can_be_written_it_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="nothing was written"):
        written(tmp_path / name)


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    written(tmp_path / "r.flow")
    before = (tmp_path / "r.flow").read_bytes()
    with pytest.raises(UserError, match="exists already"):
        written(tmp_path / "r.flow")
    assert (tmp_path / "r.flow").read_bytes() == before


def test_what_is_not_whole_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(FlowbookError, match="no longer stored"):
        archive.write(
            tmp_path / "r.flow",
            RunId("r"),
            "0.1",
            [entry.record for entry in group("r").entries],
            lambda digest: None,
            ValueFiles(tmp_path / "values"),
        )
    assert os.listdir(tmp_path) == []


def test_drafts_of_the_dead_are_cleared_away_and_others_stay(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    for name in (f".r.flow-{gone.pid}", ".r.flow-1", ".r.flow-x", f".s.flow-{gone.pid}"):
        (tmp_path / name).write_text("half")
    written(tmp_path / "r.flow")
    assert sorted(os.listdir(tmp_path)) == [".r.flow-1", ".r.flow-x", f".s.flow-{gone.pid}", "r.flow"]
