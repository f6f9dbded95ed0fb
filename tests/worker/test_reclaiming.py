"""What dropped runs leave is freed, and not looked for more often than is worth it."""

from __future__ import annotations

import gc
import weakref

import pytest

from flowbook.worker.reclaiming import ENOUGH, FEW, Reclaimer


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.mark.parametrize(
    ("dropped", "is_quiet", "is_freed"),
    [(FEW - 1, True, False), (FEW, True, True), (FEW, False, False), (ENOUGH - 1, False, False), (ENOUGH, False, True)],
)
def test_memory_is_given_back_when_it_is_worth_it(dropped: int, is_quiet: bool, is_freed: bool) -> None:
    reclaimer, left = Reclaimer(), weakref.ref(Knot())
    for _ in range(dropped):
        reclaimer.dropped()
    reclaimer.reclaim(is_quiet=is_quiet)
    assert (left() is None) is is_freed


def test_what_modules_brought_along_is_left_alone_and_what_it_held_back_is_not() -> None:
    reclaimer, knot = Reclaimer(), Knot()
    left = weakref.ref(knot)
    try:
        reclaimer.loaded()
        assert gc.get_freeze_count() > 0
        del knot
        gc.collect()
        assert left() is not None
        reclaimer.loaded()
        assert left() is None
    finally:
        gc.unfreeze()
