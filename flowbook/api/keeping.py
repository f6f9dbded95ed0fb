"""Histories as things to keep: to a file and back, and what is deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from flowbook.api.connection import Connection, connect, here
from flowbook.core.duration import seconds, seconds_with_unit
from flowbook.core.events import Recorded
from flowbook.errors import EngineUnavailable

if TYPE_CHECKING:
    from flowbook.wire.calls import Summary
    from flowbook.wire.history import Exported, Pruned

PAGE = 1000
"""Events asked for at a time."""


def imported(connection: Connection, path: str | Path, new_id: str) -> Summary:
    """Take a run in from a file. Raises RunConflict, UserError."""
    from flowbook.client import history_asks

    return connection.client.ask(history_asks.import_run(str(Path(path).expanduser().absolute()), here(), new_id))


def exported(connection: Connection, run: str, path: str | Path) -> Exported:
    """Write a run to a file; what it holds."""
    from flowbook.client import history_asks

    target = Path(path).expanduser().absolute()
    try:
        return connection.client.ask(history_asks.export_run(run, str(target)))
    except EngineUnavailable as error:
        if target.exists():
            text = (
                f"{error} {target} is there and whole, but perhaps from before; delete it and export again to be sure."
            )
        else:
            text = f"{error} Nothing was written to {target}; export again."
        raise EngineUnavailable(text) from error


def prune(
    *,
    older_than: float | str | None = None,
    status: str = "",
    where: str | None = None,
    keep_last: int = 0,
    owing: bool = False,
    dry_run: bool = False,
    timeout: float | str = "60s",
) -> Pruned:
    """Delete ended runs with their events, and modules and values that nothing refers to any more.

    ``older_than`` ("30d") counts from a run's end, ``where`` is SQL over the view ``runs`` and may take ``timeout``;
    the ``keep_last`` newest of each workflow stay, and so does what an open run needs, and without ``owing`` what owes
    something outside. Gives what went, in runs and bytes. Raises UserError, also for a text without a unit ("30").
    """
    from flowbook.client import history_asks
    from flowbook.wire.history import Prune

    age = seconds_with_unit(older_than) if isinstance(older_than, str) else older_than
    asked = Prune(age, status, where, keep_last, owing, dry_run, seconds(timeout))
    return connect().client.ask(history_asks.prune(asked))


def events(connection: Connection, run: str, after: int = 0) -> Iterator[Recorded]:
    """The run's events so far, read in pages."""
    while page := connection.client.history(run, after, PAGE):
        yield from page
        after = page[-1].seq
