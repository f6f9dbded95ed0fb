"""Open runs and edited code: which would go on with it, and moving one to it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbook.api.connection import Connection, connect
from flowbook.core.module import Module
from flowbook.errors import RunClosed
from flowbook.runtime.definitions import Workflow

if TYPE_CHECKING:
    from flowbook.wire import calls

Code = str | Path | Module | Workflow[..., Any]
"""A notebook, a Python file, a compiled module, or a workflow that is loaded here."""


class Fit:
    """Whether a run fits other code: ``fit`` is "green" (yes), "amber" (yes, but steps it has done were edited: those
    in ``edited``) or "red" (no: ``reason`` and ``difference`` say where it first differs).
    """

    def __init__(self, found: calls.Fit) -> None:
        self.run = found["run"]
        self.fit = found["fit"]
        self.edited = tuple(found["edited"])
        self.reason = found["reason"]
        self.difference = dict(found["difference"])

    @property
    def step(self) -> str:
        """The first step that differs, as its name; "" where there is none."""
        key = str(self.difference.get("key", ""))
        return key.rpartition("/")[2].partition("@")[0]

    @property
    def place(self) -> str:
        """Where that is in the run's own code: "cell c2, line 3", "line 14", or ""."""
        line, cell = self.difference.get("line"), self.difference.get("cell")
        if not line:
            return ""
        return f"cell {cell}, line {line}" if cell else f"line {line}"

    def __bool__(self) -> bool:
        return self.fit != "red"

    def __repr__(self) -> str:
        if self.fit == "red":
            where = " at ".join(part for part in (self.step, self.place) if part)
            return f"{self.run} red: {self.reason}" + (f" ({where})" if where else "")
        edited = f": done already and edited since: {', '.join(self.edited)}" if self.edited else ""
        return f"{self.run} {self.fit}{edited}"


class Fits(list[Fit]):
    """One ``Fit`` for each open run; shows as a table."""

    def __init__(self, found: Iterable[Fit]) -> None:
        super().__init__(found)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "no open run came from this code"


def check_runs(code: Code) -> Fits:
    """Would the open runs of this code go on with it as it is now? Changes nothing.

    Asked are the open runs of its workflows that were started from the same file.
    """
    connection = connect()
    module = stored(connection, code)
    return Fits(map(Fit, connection.client.check_runs(module.digest)))


def check(connection: Connection, run: str, code: Code) -> Fit:
    """Would this run go on with the code? Raises RunClosed where it has ended."""
    found = connection.client.check_runs(stored(connection, code).digest, (run,))
    if not found:
        connection.client.run(run)
        raise RunClosed(f'run "{run}" has ended, so it goes on with nothing; fork it instead.')
    return Fit(found[0])


def move(connection: Connection, run: str, code: Code) -> Fit:
    """Have the run go on with the code. Raises HistoryMismatch where it does not fit, RunClosed where it has ended."""
    module = stored(connection, code)
    return Fit(connection.client.move(run, module.digest, module.origin))


def stored(connection: Connection, code: Code) -> Module:
    """The module of this code, stored with the engine."""
    module = _module(code)
    connection.client.put_module(module)
    return module


def _module(code: Code) -> Module:
    from flowbook.api import live
    from flowbook.api.source import accepted, compile_file, split_target

    if isinstance(code, Module):
        return code
    if isinstance(code, Workflow):
        return live.compiled(code)[0]
    path = split_target(str(code))[0]
    return accepted(compile_file(path), path)
