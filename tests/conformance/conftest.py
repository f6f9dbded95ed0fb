"""Every case runs twice: with runs held in memory, and with every run dropped whenever it waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowbook.testing import TestEngine
from tests.conformance.outside import outside


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=[False, True], ids=["held", "evicted"])
def env(request: pytest.FixtureRequest) -> Iterator[TestEngine]:
    """An engine on a virtual clock; enter it with ``async with``."""
    outside.clear()
    yield TestEngine(evict=request.param)
