"""Which run's code is executing right now, if any."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flowbook.errors import NotDeterministic
from flowbook.runtime.loop import DeterministicLoop

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution


def execution() -> Execution | None:
    """The execution whose loop is draining, or None outside workflow code."""
    loop = asyncio._get_running_loop()
    if type(loop) is DeterministicLoop:
        return loop.host  # type: ignore[return-value]
    return None


def required(what: str) -> Execution:
    """The execution; raises NotDeterministic outside workflow code, naming ``what`` was called."""
    found = execution()
    if found is None:
        raise NotDeterministic(f"{what} works only inside a workflow; call it from an async @workflow function")
    return found
