"""The calls that keep, move and prune histories, as data. No IO."""

from __future__ import annotations

from flowbook.client.asks import Ask
from flowbook.core.events import Place
from flowbook.core.ids import RunId
from flowbook.wire.calls import Summary
from flowbook.wire.history import Exported, ExportRun, ImportRun, Prune, Pruned


def export_run(run: str, path: str) -> Ask[Exported]:
    """Write a run to a file. Not sent again: a second time the file is there."""
    return Ask("export_run", ExportRun(RunId(run), path), Exported, repeatable=False)


def import_run(path: str, place: Place, new_id: str) -> Ask[Summary]:
    """Take a run in from a file. Not sent again: a second time it is known."""
    return Ask("import_run", ImportRun(path, place, new_id), Summary, repeatable=False)


def prune(asked: Prune) -> Ask[Pruned]:
    """Delete closed runs."""
    return Ask("prune", asked, Pruned)
