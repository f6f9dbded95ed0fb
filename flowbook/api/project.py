"""The project's runs as a whole: list them, find one, query their history, run a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flowbook.api.connection import Connection, connect
from flowbook.api.decorator import Workflow
from flowbook.api.started import Run, one_line
from flowbook.errors import UserError
from flowbook.runtime import current
from flowbook.runtime.elsewhere import other_run


class Runs(list[Run]):
    """Runs, newest first; shows as a table."""

    def __init__(self, lines: list[str], found: list[Run]) -> None:
        super().__init__(found)
        self._lines = lines

    def __repr__(self) -> str:
        return "\n".join(self._lines) or "no runs yet"


class Rows(list[dict[str, Any]]):
    """The rows of a query; shows as a table. ``more`` is true when the limit cut some off."""

    def __init__(self, columns: list[str], rows: list[list[Any]], more: bool = False) -> None:
        super().__init__(dict(zip(columns, row, strict=True)) for row in rows)
        self.columns = columns
        self.more = more

    def __repr__(self) -> str:
        texts = [self.columns, *([_cell(row[name]) for name in self.columns] for row in self)]
        widths = [max(len(row[i]) for row in texts) for i in range(len(self.columns))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in texts
        ]
        lines.insert(1, "  ".join("─" * width for width in widths))
        return "\n".join([*lines, *(["… and more; raise the limit to see them"] if self.more else [])])


def runs(limit: int = 20, status: str = "") -> Runs:
    """The newest runs of this project; ``status`` keeps those with it."""
    connection = connect()
    summaries = connection.client.runs(limit, status)
    return Runs([one_line(s, connection) for s in summaries], [Run(s["id"], connection) for s in summaries])


def get_run(id: str) -> Any:
    """The run with this id. Raises UnknownRun. In workflow code: the other run, to send signals to."""
    if current.execution() is not None:
        return other_run(id)
    connection = connect()
    return Run(connection.client.run(id)["id"], connection)


def sql(query: str, limit: int = 1000) -> Any:
    """One read-only SQL statement over the project's history: a DataFrame where pandas is installed, else rows."""
    found = table(connect(), query, limit)
    try:
        import pandas
    except ImportError:
        return found
    return pandas.DataFrame(list(found), columns=found.columns)


def table(connection: Connection, query: str, limit: int) -> Rows:
    """The answer to a query as rows."""
    answer = connection.client.sql(query, limit)
    return Rows([column["name"] for column in answer["columns"]], answer["rows"], answer.get("more", False))


def run(what: str | Path | Workflow[..., Any], /, **params: Any) -> Run:
    """Start a run of a notebook, a Python file (``"file.py:name"``) or a workflow, and give it at once.

    Takes the options of ``Workflow.start`` besides the workflow's own parameters.
    """
    if isinstance(what, Workflow):
        started: Run = what.start(**params)
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


def import_run(path: str | Path, *, id: str = "") -> Run:
    """The run in a file that ``run.export`` or ``flowbook history export`` wrote, as a run of this project.

    An open one is paused until ``run.resume()``. Raises RunConflict where its id is known here (give another as
    ``id``), UserError where the file is not whole.
    """
    from flowbook.api.keeping import imported

    connection = connect()
    return Run(imported(connection, path, id)["id"], connection)


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 60 else text[:59] + "…"
