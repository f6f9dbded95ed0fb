"""Files of a killed engine, spoilt in many places: what was acknowledged is there, or a notice says that it is not.

The writer is a process of its own that is killed while its files are open. Each spoilt copy is opened by another one,
so that a library that dies of what it reads is seen as well.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flowbook.store.home import Home
from flowbook.store.journal import LOG, DamagedJournal, Journal
from flowbook.store.journal_log import log_of
from tests.crash.project import kill

pytestmark = [pytest.mark.crash, pytest.mark.slow]

WRITER = """
import sys
from flowbook.store.home import Home
from flowbook.store.local import LocalStore
from tests.store.conftest import group
home = Home(sys.argv[1])
home.create()
store = LocalStore(home)
kept = int(sys.argv[2])
if kept:
    store._journal._kept = kept
for number in range(40):
    store.commit(group(f"r{number:02}"))
    if number in (9, 24):
        while store.drain():
            pass
        if number == 9:
            store.tidy()
print("acknowledged", flush=True)
sys.stdin.read()
"""

READER = """
import json, sys
from flowbook.errors import StoreError
from flowbook.store.home import Home
from flowbook.store.local import LocalStore
from tests.store.conftest import group
home = Home(sys.argv[1])
try:
    store = LocalStore(home)
except StoreError as error:
    print(json.dumps({"refused": str(error)}))
    sys.exit()
expected = {f"r{n:02}": [entry.record.decode() for entry in group(f"r{n:02}").entries] for n in range(40)}
found = {run: [r.decode() for r in store.history(run)] for run in store.closed_ids()}
notices = list(store.notices)
store.commit(group("after"))
store.close()
store = LocalStore(home)
again = sorted(store.closed_ids())
later = store.notices
store.close()
print(json.dumps({
    "refused": "",
    "notices": notices,
    "missing": sorted(set(expected) - set(found)),
    "altered": sorted(run for run in set(found) & set(expected) if found[run] != expected[run]),
    "kept": again == sorted([*found, "after"]) and not later,
}))
"""


class Answer(NamedTuple):
    """What the reader says, or how it died."""

    said: dict[str, Any]
    text: str


def _killed(home: Path, kept: int) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(home), str(kept)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"acknowledged\n"
        kill(writer.pid)


def _read(home: Path) -> Answer:
    done = subprocess.run([sys.executable, "-c", READER, str(home)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr}"
    return Answer(json.loads(done.stdout), done.stdout)


@pytest.fixture(scope="module", params=[0, 12_000], ids=["whole-journal", "short-journal"])
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of a killed writer; its journal goes back to the first event, or does not."""
    home = tmp_path_factory.mktemp("killed") / ".flowbook"
    _killed(home, request.param)
    return home


FILES = ("journal.sqlite", "journal.sqlite-wal", "flowbook.duckdb", "flowbook.duckdb.wal")


def _spoil(path: Path, how: str, part: float) -> None:
    data = bytearray(path.read_bytes())
    # The log is made long beforehand; what is in it is at its beginning.
    used = min(len(data), 200_000) if path.name == "journal.sqlite-wal" else len(data)
    at = int(used * part)
    match how:
        case "cut":
            del data[at:]
        case "zeroed":
            data[at : at + 4096] = bytes(len(data[at : at + 4096]))
        case "flipped":
            for place in range(at, min(at + 64, len(data))):
                data[place] ^= 0xFF
        case "gone":
            path.unlink()
            return
    path.write_bytes(data)


PARTS = {"gone": (0.0,), "cut": (0.02, 0.97), "zeroed": (0.0, 0.6), "flipped": (0.02, 0.3)}
DAMAGE = [(how, part) for how, parts in PARTS.items() for part in parts]


@pytest.mark.parametrize(("how", "part"), DAMAGE, ids=[f"{how}-{part}" for how, part in DAMAGE])
@pytest.mark.parametrize("file", FILES)
def test_nothing_is_lost_in_silence(killed: Path, tmp_path: Path, file: str, how: str, part: float) -> None:
    home = tmp_path / ".flowbook"
    shutil.copytree(killed, home)
    if not (home / file).exists():
        pytest.skip(f"this writer leaves no {file}")
    _spoil(home / file, how, part)
    _is_told(_read(home).said)


def _is_told(said: dict[str, Any]) -> None:
    if said["refused"]:
        assert "Nothing was deleted" in said["refused"]
        return
    assert not said["altered"]
    assert said["kept"]
    if said["missing"]:
        assert any("missing" in notice for notice in said["notices"]), said


@pytest.mark.parametrize("seed", range(24))
def test_drawn_damage_is_told_as_well(killed: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    home = tmp_path / ".flowbook"
    shutil.copytree(killed, home)
    path = chance.choice([home / file for file in FILES if (home / file).exists()])
    data = bytearray(path.read_bytes())
    used = min(len(data), 200_000) if path.name == "journal.sqlite-wal" else len(data)
    at, length = chance.randrange(used), chance.choice([1, 1, 2, 8, 64, 512])
    data[at : at + length] = chance.randbytes(min(length, len(data) - at))
    path.write_bytes(data)
    _is_told(_read(home).said)


def test_a_damaged_journal_is_one_and_nothing_else_goes_wrong(killed: Path, tmp_path: Path) -> None:
    """What is not noticed has changed nothing: every group has a checksum."""
    chance = random.Random(7)
    path = tmp_path / "journal.sqlite"
    with contextlib.closing(_merged(killed, path)) as whole:
        groups = {position: [e.record for e in group.entries] for position, group in whole.read(0)}
    data = path.read_bytes()
    told = 0
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(chance.choice([1, 1, 4])):
            damaged[chance.randrange(len(data))] = chance.randrange(256)
        log_of(path).unlink(missing_ok=True)
        path.write_bytes(damaged)
        try:
            with contextlib.closing(Journal(path)) as journal:
                for position, group in journal.read(0):
                    assert groups[position] == [entry.record for entry in group.entries]
        except DamagedJournal:
            told += 1
    assert told > 20


def _merged(killed: Path, path: Path) -> Journal:
    """The journal with its log folded in."""
    for file in killed.glob("journal.sqlite*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, path.parent / file.name)
    with contextlib.closing(Journal(path)) as journal:
        journal.tidy()
    return Journal(path)


def test_undamaged_files_are_taken_as_they_are(killed: Path, tmp_path: Path) -> None:
    home = tmp_path / ".flowbook"
    shutil.copytree(killed, home)
    assert Home(home).journal.with_name("journal.sqlite-wal").stat().st_size > LOG
    said = _read(home).said
    assert said == {"refused": "", "notices": [], "missing": [], "altered": [], "kept": True}
