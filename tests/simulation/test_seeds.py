"""Two thousand worlds, each drawn from its number. What is checked of each is in ``invariants``."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.simulate import broken_among, reproduce

SEEDS = 2000
PARTS = 40
EACH = SEEDS // PARTS


@pytest.mark.parametrize("first", range(1, SEEDS + 1, EACH))
def test_whatever_goes_wrong_nothing_is_lost_and_nothing_happens_twice(first: int) -> None:
    broken = broken_among(range(first, first + EACH))
    assert not broken, "\n".join(f"{reproduce(seed)}: {error}" for seed, error in broken)


def test_a_seed_is_one_history_byte_for_byte() -> None:
    """In other processes too, where hashes of strings differ and objects lie elsewhere."""
    script = "from tests.simulation.simulate import simulate; print([simulate(s).digest for s in range(7000, 7020)])"
    printed = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hashes in ("1", "2", "3")
    }
    assert len(printed) == 1 and len(next(iter(printed))) > 100
