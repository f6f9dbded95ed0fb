"""What one types in a notebook or a script: start runs, look at them, send signals, travel, fork.

Light to import: the engine's client, the compiler and the displays are loaded on first use.
"""

from __future__ import annotations

from flowbook.api.decorator import Workflow, workflow
from flowbook.api.fork import Fork
from flowbook.api.moment import Moment
from flowbook.api.page import Flow, flow
from flowbook.api.project import get_run, run, runs, sql
from flowbook.api.started import Run

__all__ = ["Flow", "Fork", "Moment", "Run", "Workflow", "flow", "get_run", "run", "runs", "sql", "workflow"]
