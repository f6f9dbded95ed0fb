"""The state folder: private, locked by the kernel, and honest about what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flowbook.errors import MissingValue, StoreError
from flowbook.store.home import Home
from flowbook.store.values import ValueFiles


def test_the_folder_is_private(tmp_path: Path) -> None:
    home = Home(tmp_path / ".flowbook")
    home.create()
    assert home.folder.stat().st_mode & 0o777 == 0o700


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    short, long = Home("/p/.flowbook"), Home(Path("/p") / ("x" * 120) / ".flowbook")
    assert short.socket == Path("/p/.flowbook/engine.sock")
    assert len(str(long.socket)) < 100
    assert long.socket != Home(Path("/p") / ("y" * 120) / ".flowbook").socket


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="FLOWBOOK_HOME"):
        Home(tmp_path / ".flowbook").create()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / ".flowbook").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        Home(tmp_path / ".flowbook").create()


def test_a_lock_is_held_once_and_goes_with_its_holder(tmp_path: Path) -> None:
    home = Home(tmp_path)
    first = home.lock(home.engine_lock)
    assert first is not None
    assert home.lock(home.engine_lock) is None
    first.close()
    again = home.lock(home.engine_lock)
    assert again is not None
    again.close()


def test_a_lock_file_left_by_a_power_cut_locks_nobody_out(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.engine_lock.write_text("4242")
    lock = home.lock(home.engine_lock)
    assert lock is not None
    lock.close()


def test_values_are_kept_once_and_checked(tmp_path: Path) -> None:
    files = ValueFiles(tmp_path)
    digest = files.save(b"data")
    assert files.save(b"data") == digest
    assert files.load(digest) == b"data"
    (path,) = [path for path in (tmp_path / "values").rglob("*") if path.is_file()]
    path.write_bytes(b"dat!")
    with pytest.raises(MissingValue, match="damaged"):
        files.load(digest)
    path.unlink()
    with pytest.raises(MissingValue, match=digest):
        files.load(digest)


def test_a_value_that_was_cut_short_is_saved_again(tmp_path: Path) -> None:
    files = ValueFiles(tmp_path)
    digest = files.save(b"data")
    (path,) = [path for path in (tmp_path / "values").rglob("*") if path.is_file()]
    path.write_bytes(b"")
    files.save(b"data")
    assert files.load(digest) == b"data"


@pytest.mark.parametrize("digest", ["", "../token", "a/b"])
def test_a_digest_is_no_path(tmp_path: Path, digest: str) -> None:
    with pytest.raises(MissingValue):
        ValueFiles(tmp_path).load(digest)  # type: ignore[arg-type]
