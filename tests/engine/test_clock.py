"""The engine's clock while the machine's is set back and forth."""

from __future__ import annotations

import pytest

from flowbook.engine import clock


def test_it_stands_still_while_the_machines_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 105.0, 40.0, 104.0, 106.0])
    monkeypatch.setattr(clock.time, "time", lambda: next(times))
    system = clock.SystemClock()
    assert [system.now() for _ in range(5)] == [100.0, 105.0, 105.0, 105.0, 106.0]
