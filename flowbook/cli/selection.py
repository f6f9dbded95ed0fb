"""Which runs ``flowbook runs`` lists: a predicate in SQL and labels, as conditions on the view ``runs``."""

from __future__ import annotations

from collections.abc import Iterable

from flowbook.api import labelled
from flowbook.api.arguments import read_labels
from flowbook.runtime.readings import read


def conditions(where: str | None, labels: Iterable[str]) -> list[str]:
    """Conditions in SQL that a run must meet; none where nothing is asked for. Raises UserError."""
    wanted = labelled.conditions({name: read(text) for name, text in read_labels(labels).items()})
    return wanted if where is None else [*wanted, where]
