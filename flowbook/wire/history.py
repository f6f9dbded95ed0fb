"""The calls that keep, move and prune histories: parameters and results, for both ends of the socket. Shapes only."""

from __future__ import annotations

from typing import TypedDict

from flowbook.core.events import Place
from flowbook.core.ids import RunId
from flowbook.wire.calls import Call


class ExportRun(Call, frozen=True):
    """export_run: write a run to the file ``path``, absolute on the engine's machine; answers ``Exported``."""

    run: RunId
    path: str


class ImportRun(Call, frozen=True):
    """import_run: take a run in from the file ``path``; answers its summary.

    ``id`` is what it is called here, by default as before; its code is to run in ``place``.
    """

    path: str
    place: Place
    id: str = ""


class Prune(Call, frozen=True):
    """prune: delete closed runs that match all that is given; answers ``Pruned``.

    ``older_than`` is in seconds since the run ended, ``where`` a predicate over the view ``runs``, which may take
    ``timeout`` seconds; the ``keep_last`` newest runs of each workflow stay, and without ``owing`` those that owe
    something outside. ``dry_run`` only says what would go.
    """

    older_than: float | None = None
    status: str = ""
    where: str | None = None
    keep_last: int = 0
    owing: bool = False
    dry_run: bool = False
    timeout: float = 60.0


class Exported(TypedDict):
    """The manifest of a file: what it holds."""

    run: str
    workflow: str
    status: str
    events: int
    modules: dict[str, str]
    values: dict[str, int]


class PrunedRun(TypedDict):
    """A run that was deleted; ``bytes`` is the size of its events."""

    id: str
    workflow: str
    status: str
    events: int
    bytes: int


class KeptRun(TypedDict):
    """A run that matched and stays, and why."""

    id: str
    reason: str


class Pruned(TypedDict):
    """What a pruning did. ``freed`` is in bytes: events, modules and value files."""

    runs: list[PrunedRun]
    kept: list[KeptRun]
    modules: int
    values: int
    freed: int
    dry_run: bool
