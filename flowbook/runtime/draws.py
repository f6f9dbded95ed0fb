"""Random numbers that re-execution draws again: each statement of each task has a stream of its own."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from flowbook.runtime import sites

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution

# Of a worker's ``random.Random`` without a seed it is asked here, for one.
_seed = random.Random.seed


def stream(execution: Execution, name: str, depth: int = 2) -> random.Random:
    """The numbers for this draw, as the statement that is ``depth`` frames up makes it: one more draw shifts no
    other.
    """
    key = execution.key(f"{name}@{sites.statement(depth + 1)}")
    made = random.Random.__new__(random.Random)
    _seed(made, f"{execution.run}{key}")
    return made
