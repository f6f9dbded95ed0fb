"""An event loop that runs inside a callback of another one: which of them, and whose task, is current meanwhile.

asyncio has no public way to do this. What it does inside differs between versions of Python, and that is known here
and nowhere else.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, NamedTuple


class Outer(NamedTuple):
    """What was current before."""

    loop: asyncio.AbstractEventLoop | None
    task: Any
    library: str | None


swap_task: Callable[[Any, Any], Any] | None = (
    asyncio.tasks._swap_current_task if sys.version_info >= (3, 14) else None  # type: ignore[attr-defined,unused-ignore]
)
"""Since 3.14 a thread has one current task, where each loop had its own: gives the one that was so before."""


def enter(loop: asyncio.AbstractEventLoop) -> Outer:
    """Make ``loop`` the running one; ``leave`` takes what this gives."""
    outer = asyncio._get_running_loop()
    task = None
    if swap_task is not None and outer is not None and outer is not loop:
        task = swap_task(outer, None)
    asyncio._set_running_loop(loop)
    return Outer(outer, task, _sniffed("asyncio"))


def leave(outer: Outer) -> None:
    """Make running what was so before."""
    asyncio._set_running_loop(outer.loop)
    _sniffed(outer.library)
    if outer.task is not None and swap_task is not None:
        swap_task(outer.loop, outer.task)


def _sniffed(library: str | None) -> str | None:
    """Tell sniffio, whom anyio asks where it is installed and who looks for a current task, which library is running.

    Gives what it was told before.
    """
    sniffio = sys.modules.get("sniffio")
    if sniffio is None:
        return None
    before: str | None = sniffio.thread_local.name
    sniffio.thread_local.name = library
    return before
