"""pytest fixtures. Loaded by pytest in every project that has flowbook, so importing it imports nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flowbook.testing.engine import TestEngine


@pytest.fixture
def flowbook_engine() -> Iterator[TestEngine]:
    """A ``TestEngine`` for this test."""
    from flowbook.testing.engine import TestEngine

    with TestEngine() as env:
        yield env
