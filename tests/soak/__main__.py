"""``python -m tests.soak --minutes 60`` (``make soak``): mixed load for long, then a verdict and a table; ``--plot
FILE.svg``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import anyio

from flowbook.client import Client
from tests.soak.load import Log, Sample, Soak
from tests.soak.verdict import faults

MIB = 1024 * 1024


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=20.0, help="runs started a second, on the average (default: 20)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--retention", default="5m", help="how long ended runs are kept (default: 5m)")
    parser.add_argument("--plot", metavar="FILE")
    options = parser.parse_args()
    os.environ["FLOWBOOK_RETENTION"] = options.retention
    with tempfile.TemporaryDirectory(prefix="flowbook-soak-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / ".flowbook"
        soak = Soak(home, options.minutes * 60, options.rate, options.seed, every=max(1.0, options.minutes / 2))
        try:
            log = anyio.run(soak.run)
        finally:
            with Client(home, start=False) as client:
                client.stop()
    print(table(log))
    if options.plot:
        from tests.soak.plot import plot

        plot(log, options.plot)
    found = faults(log)
    for fault in found:
        print(f"not well: {fault}")
    if not found:
        print(f"{log.started.total():,} runs, {log.updates:,} updates: all ended as they should; nothing grew.")
    return 1 if found else 0


def table(log: Log) -> str:
    """Some twenty of the samples."""
    step = max(1, len(log.samples) // 20)
    lines = ["   minute      runs    open  engine MiB  workers MiB  database MiB  journal MiB  value files  open files"]
    lines += [_row(sample) for sample in [*log.samples[::step], log.samples[-1]]]
    return "\n".join(lines)


def _row(sample: Sample) -> str:
    return (
        f"{sample.at / 60:9.1f}{sample.ended:10,}{sample.open:8,}"
        f"{sample.engine / MIB:12.1f}{sample.workers / MIB:13.1f}"
        f"{sample.database / MIB:14.1f}{sample.journal / MIB:13.1f}{sample.files:13,}{sample.handles:12,}"
    )


if __name__ == "__main__":
    sys.exit(main())
