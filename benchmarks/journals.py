"""``python -m benchmarks.journals``: what a durable commit costs in the journal, and in what could be in its place.

The same groups of events are committed, one group after the other, each synced to the disk before the next: to the
journal as it is (SQLite), to a plain file with a checksum for each group, and to the database itself (DuckDB alone).
Rounds of the three take turns, so that a disk that is busy for a while is busy for all. The figures are in
``docs/decisions/0013-journal.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from flowbook.core.events import StepCompleted
from flowbook.core.ids import Key, RunId, Seq
from flowbook.core.value import Value
from flowbook.store.base import Group
from flowbook.store.duckdb import Database
from flowbook.store.journal import Journal

SIZES = (1, 10, 100, 1000)
"""Events in a group."""

Commit = Callable[[Group], object]


def groups(size: int) -> Callable[[], Group]:
    """Makes groups of the ends of steps; each has other events than those before."""
    value = Value(codec="json", data=msgspec.Raw(b"12345"), size=5, type="int")
    seq = 0

    def make() -> Group:
        nonlocal seq
        group = Group()
        for _ in range(size):
            seq += 1
            event = StepCompleted(key=Key(f"/fetch@5f1a6c.{seq}"), step="fetch", value=value, digest="fdc1b8194d12348b")
            group.add(RunId("a-run"), Seq(seq), 1_750_000_000.0 + seq, event)
        return group

    return make


def journal(folder: Path) -> Commit:
    """What Flowbook does."""
    return Journal(folder / "journal.sqlite").append


def plain_file(folder: Path) -> Commit:
    """An append to a file, and a sync of its data. The file grows with each, as it would."""
    handle = os.open(folder / "journal.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def commit(group: Group) -> None:
        body = b"\n".join(entry.record for entry in group.entries)
        os.write(handle, len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big") + body)
        os.fdatasync(handle)

    return commit


def database(folder: Path) -> Commit:
    """The database takes each group at once, and there is no journal."""
    made, position = Database(folder / "flowbook.duckdb"), 0

    def commit(group: Group) -> None:
        nonlocal position
        position += 1
        made.insert([group], position)

    return commit


WAYS: dict[str, Callable[[Path], Commit]] = {
    "journal (SQLite)": journal,
    "plain file": plain_file,
    "DuckDB alone": database,
}


def measured(size: int, rounds: int, seconds: float) -> dict[str, float]:
    """Commits a second of each way, medians."""
    with tempfile.TemporaryDirectory(prefix="flowbook-journals-", ignore_cleanup_errors=True) as folder:
        ways: dict[str, Commit] = {}
        for name, way in WAYS.items():
            (Path(folder) / name).mkdir()
            ways[name] = way(Path(folder) / name)
        make = groups(size)
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, commit in ways.items():
                found[name].append(_rate(commit, make, seconds))
    return {name: statistics.median(rates) for name, rates in found.items()}


def _rate(commit: Commit, make: Callable[[], Group], seconds: float) -> float:
    count, spent = 0, 0.0
    while spent < seconds:
        group = make()
        begin = time.perf_counter()
        commit(group)
        spent += time.perf_counter() - begin
        count += 1
    return count / spent


def main() -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.journals", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each (default: 5)")
    parser.add_argument("--seconds", type=float, default=0.5, help="seconds of a round (default: 0.5)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    found = {size: measured(size, options.rounds, options.seconds) for size in SIZES}
    print(json.dumps(found, indent=1) if options.json else table(found))
    return 0


def table(found: dict[int, dict[str, float]]) -> str:
    """Milliseconds of a commit, and events a second."""
    lines = [f"{'events a commit':18}" + "".join(f"{name:>30}" for name in WAYS)]
    for size, rates in found.items():
        cells = (f"{1000 / rates[name]:.2f} ms {rates[name] * size:>12,.0f}/s" for name in WAYS)
        lines.append(f"{size:<18,}" + "".join(f"{cell:>30}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
