"""Flowbook: durable workflows, written as notebook cells or plain async Python.

Names load on first use, so that an exported module imports neither Jupyter nor the engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "step": "flowbook.runtime.definitions",
    "signal": "flowbook.runtime.primitives",
    "sleep": "flowbook.runtime.primitives",
    "now": "flowbook.runtime.primitives",
    "random": "flowbook.runtime.primitives",
    "uuid4": "flowbook.runtime.primitives",
    "record": "flowbook.runtime.primitives",
    "operation": "flowbook.runtime.operation",
    "step_context": "flowbook.runtime.context",
    "progress": "flowbook.runtime.context",
    "log": "flowbook.runtime.context",
    "heartbeat": "flowbook.runtime.context",
    "uninterrupted": "flowbook.runtime.context",
    "RetryAfter": "flowbook.runtime.context",
    "NonRetryable": "flowbook.runtime.context",
    "awakeable": "flowbook.runtime.elsewhere",
    "query": "flowbook.runtime.handlers",
    "update": "flowbook.runtime.handlers",
    "all_handlers_finished": "flowbook.runtime.handlers",
    "on_signal": "flowbook.runtime.listeners",
    "continue_as_new": "flowbook.runtime.going_on",
    "history_length": "flowbook.runtime.going_on",
    "patched": "flowbook.runtime.going_on",
    "set_attributes": "flowbook.runtime.going_on",
    "saga": "flowbook.runtime.saga",
    "shielded": "flowbook.runtime.shielding",
    "results": "flowbook.runtime.results",
    "display": "flowbook.runtime.output",
    "RetryPolicy": "flowbook.core.retry",
    "workflow": "flowbook.api",
    "Run": "flowbook.api",
    "flow": "flowbook.api",
    "run": "flowbook.api",
    "runs": "flowbook.api",
    "get_run": "flowbook.api",
    "sql": "flowbook.api",
    "Queue": "flowbook.core.queues",
    "queues": "flowbook.api.queues",
    "schedule": "flowbook.api.schedules",
    "schedules": "flowbook.api.schedules",
    "get_schedule": "flowbook.api.schedules",
    "Schedule": "flowbook.api.schedules",
    "check_runs": "flowbook.api.moving",
    "complete": "flowbook.api.outside",
    "fail": "flowbook.api.outside",
    "obligations": "flowbook.api.outside",
    "import_run": "flowbook.api.project",
    "prune": "flowbook.api.keeping",
    "FlowbookError": "flowbook.errors",
    "HistoryMismatch": "flowbook.errors",
    "StepFailed": "flowbook.errors",
    "RunFailed": "flowbook.errors",
    "RunCancelled": "flowbook.errors",
    "RunTerminated": "flowbook.errors",
    "UpdateFailed": "flowbook.errors",
    "UpdateRejected": "flowbook.errors",
    "load_ipython_extension": "flowbook.jupyter.magics",
}

__all__ = [
    "FlowbookError",
    "HistoryMismatch",
    "NonRetryable",
    "Queue",
    "RetryAfter",
    "RetryPolicy",
    "Run",
    "RunCancelled",
    "RunFailed",
    "RunTerminated",
    "Schedule",
    "StepFailed",
    "UpdateFailed",
    "UpdateRejected",
    "all_handlers_finished",
    "awakeable",
    "check_runs",
    "complete",
    "continue_as_new",
    "display",
    "fail",
    "flow",
    "get_run",
    "get_schedule",
    "heartbeat",
    "history_length",
    "import_run",
    "load_ipython_extension",
    "log",
    "now",
    "obligations",
    "on_signal",
    "operation",
    "patched",
    "progress",
    "prune",
    "query",
    "queues",
    "random",
    "record",
    "results",
    "run",
    "runs",
    "saga",
    "schedule",
    "schedules",
    "set_attributes",
    "shielded",
    "signal",
    "sleep",
    "sql",
    "step",
    "step_context",
    "uninterrupted",
    "update",
    "uuid4",
    "workflow",
]

if TYPE_CHECKING:
    from flowbook.api import Run, flow, get_run, run, runs, sql, workflow
    from flowbook.api.keeping import prune
    from flowbook.api.moving import check_runs
    from flowbook.api.outside import complete, fail, obligations
    from flowbook.api.project import import_run
    from flowbook.api.queues import queues
    from flowbook.api.schedules import Schedule, get_schedule, schedule, schedules
    from flowbook.core.queues import Queue
    from flowbook.core.retry import RetryPolicy
    from flowbook.errors import (
        FlowbookError,
        HistoryMismatch,
        RunCancelled,
        RunFailed,
        RunTerminated,
        StepFailed,
        UpdateFailed,
        UpdateRejected,
    )
    from flowbook.jupyter.magics import load_ipython_extension
    from flowbook.runtime.context import (
        NonRetryable,
        RetryAfter,
        heartbeat,
        log,
        progress,
        step_context,
        uninterrupted,
    )
    from flowbook.runtime.definitions import step
    from flowbook.runtime.elsewhere import awakeable
    from flowbook.runtime.going_on import continue_as_new, history_length, patched, set_attributes
    from flowbook.runtime.handlers import all_handlers_finished, query, update
    from flowbook.runtime.listeners import on_signal
    from flowbook.runtime.operation import operation
    from flowbook.runtime.output import display
    from flowbook.runtime.primitives import now, random, record, signal, sleep, uuid4
    from flowbook.runtime.results import results
    from flowbook.runtime.saga import saga
    from flowbook.runtime.shielding import shielded


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'flowbook' has no attribute '{name}'")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
