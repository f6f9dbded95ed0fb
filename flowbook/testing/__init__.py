"""Tests of workflows: an engine in this process on a clock that jumps, and replay of recorded histories.

Names load on first use: a pytest run that does not use them pays nothing for the plugin.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "TestEngine": "flowbook.testing.engine",
    "TestRun": "flowbook.testing.run",
    "replay": "flowbook.testing.replaying",
}

__all__ = ["TestEngine", "TestRun", "replay"]

if TYPE_CHECKING:
    from flowbook.testing.engine import TestEngine
    from flowbook.testing.replaying import replay
    from flowbook.testing.run import TestRun


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'flowbook.testing' has no attribute '{name}'")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
