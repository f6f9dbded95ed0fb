"""The project's runs as a whole: list them, find one, query their history, run a file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowbook.api import labelled
from flowbook.api.bounds import at_least_one, query_time
from flowbook.api.connection import Connection, connect
from flowbook.api.decorator import Workflow
from flowbook.api.rows import Rows
from flowbook.api.started import Run, one_line
from flowbook.client import many_asks
from flowbook.core import options
from flowbook.errors import UserError
from flowbook.runtime import current
from flowbook.runtime.elsewhere import other_run

MOST_ROWS = 1_000_000
QUERY_TIMEOUT = "60s"


class Runs(list[Run[Any]]):
    """Runs, newest first; shows as a table."""

    def __init__(self, lines: list[str], found: list[Run[Any]]) -> None:
        super().__init__(found)
        self._lines = lines

    def __repr__(self) -> str:
        return "\n".join(self._lines) or "no runs yet"


def runs(limit: int = 20, status: str = "", *, attributes: Mapping[str, Any] | None = None) -> Runs:
    """The newest runs of this project; ``status`` keeps those with it, ``attributes`` those that have these labels."""
    if status:
        options.one_of("status", status, options.STATUSES)
    wanted = labelled.conditions(attributes or {})
    connection = connect()
    if wanted:
        asked = many_asks.runs(wanted, at_least_one("limit", limit), status, query_time(QUERY_TIMEOUT))
        summaries = connection.client.ask(asked)
    else:
        summaries = connection.client.runs(at_least_one("limit", limit), status)
    return Runs([one_line(s, connection) for s in summaries], [Run(s["id"], connection) for s in summaries])


def get_run(id: str) -> Run[Any]:
    """The run with this id. Raises UnknownRun. In workflow code: the other run, to signal or cancel it with ``await``.

    It is that very run; ``get_run(id).latest`` is the last one of its chain.
    """
    if current.execution() is not None:
        return other_run(id)  # type: ignore[return-value]
    connection = connect()
    return Run(connection.client.run(options.name("a run's id", id))["id"], connection)


def sql(query: str, limit: int | None = None, *, timeout: float | str = QUERY_TIMEOUT) -> Any:
    """One read-only SQL statement over the project's history: a DataFrame where pandas is installed, else rows.

    ``limit``: at most so many rows; without one, all of them. ``timeout``: it is ended after that time. Raises
    UserError for what is no such statement, takes longer, or answers with more than 64 MiB.
    """
    most = MOST_ROWS if limit is None else at_least_one("limit", limit)
    found = table(connect(), options.text("a query", query), most, timeout)
    if found.more and limit is None:
        warnings.warn(f"there are more than {MOST_ROWS:,} rows; these are the first", stacklevel=2)
    try:
        return found.frame()
    except ImportError:
        return found


def table(connection: Connection, query: str, limit: int, timeout: float | str = QUERY_TIMEOUT) -> Rows:
    """The answer to a query as rows."""
    return Rows(connection.client.sql(query, limit, query_time(timeout)))


def run(what: str | Path | Workflow[..., Any], /, **params: Any) -> Run[Any]:
    """Start a run of a notebook, a Python file (``"file.py:name"``) or a workflow, and give it at once.

    Takes the options of ``Workflow.start`` besides the workflow's own parameters.
    """
    if isinstance(what, Workflow):
        started: Run[Any] = what.start(**params)
        return started
    if not isinstance(what, (str, Path)):
        raise UserError(f"run() takes a notebook, a Python file or a workflow, not {type(what).__name__}")
    from flowbook.api.options import taken
    from flowbook.api.source import load
    from flowbook.api.starting import start

    connection = connect()
    module, workflow = load(what)
    options = taken(params, {str(parameter["name"]) for parameter in workflow.parameters})
    return Run(start(connection, module, workflow, params, options=options)["id"], connection)


def import_run(path: str | Path, *, id: str = "") -> Run[Any]:
    """The run in a file that ``run.export`` or ``flowbook history export`` wrote, as a run of this project.

    An open one is paused until ``run.resume()``. Raises RunConflict where its id is known here (give another as
    ``id``), UserError where the file is not whole.
    """
    from flowbook.api.keeping import imported

    connection = connect()
    return Run(imported(connection, path, id)["id"], connection)
