"""``python -m tests.simulation``: many seeds on all cores, or one of them in full."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator

from tests.simulation.simulate import BEGIN, Outcome, broken_among, reproduce, simulate

BATCH = 50


def show(outcome: Outcome) -> None:
    print(f"seed {outcome.seed}\n{outcome.climate}")
    for plan in outcome.plans:
        print(plan)
    for trouble in outcome.trouble:
        print("trouble:", trouble)
    for run, history in outcome.histories.items():
        print(f"\n{run}")
        for recorded in history:
            print(f"  {recorded.seq:4} {recorded.time - BEGIN:12.4f} {_line(recorded.event)}")
    print(f"\nhistories {outcome.digest}")
    print(f"BROKEN: {outcome.error}" if outcome.error else "all invariants hold")


def _line(event: object) -> str:
    parts = [type(event).__name__]
    for name in ("key", "step", "attempt", "name", "due", "id", "reason", "lost"):
        value = getattr(event, name, None)
        if value:
            parts.append(f"{name}={value}")
    return " ".join(parts)


def batches(first: int, last: int) -> Iterator[range]:
    for begin in range(first, last + 1, BATCH):
        yield range(begin, min(begin + BATCH, last + 1))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="show this seed in full")
    parser.add_argument("--seeds", default="1-50000", metavar="A-B", help="try these seeds (default: 1-50000)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first ten broken seeds")
    options = parser.parse_args()
    if options.seed is not None:
        outcome = simulate(options.seed)
        show(outcome)
        return 1 if outcome.error else 0
    first, _, last = options.seeds.partition("-")
    return sweep(int(first), int(last or first), options.processes, options.keep_going)


def sweep(first: int, last: int, processes: int, keep_going: bool) -> int:
    begun, done, broken = time.monotonic(), 0, 0
    count = last - first + 1
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=40) as pool:
        for found in pool.imap_unordered(broken_among, batches(first, last)):
            done = min(done + BATCH, count)
            for seed, error in found:
                broken += 1
                print(f"\rseed {seed} is broken: {error.splitlines()[0][:300]}\n  {reproduce(seed)}", flush=True)
            spent = time.monotonic() - begun
            left = spent / done * (count - done)
            print(f"\r{done} of {count} seeds, {broken} broken, {spent:.0f} s, {left:.0f} s left ", end="", flush=True)
            if broken >= 10 and not keep_going:
                pool.terminate()
                break
    print()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
