"""What a run has to do with others, in words and tables: how it was stopped, what it owes, whom it started and told.

``widgets/draw.js`` says the same with links and forms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

STOPPING = {"cancel": "is being cancelled", "terminate": "is being terminated", "timeout": "its time is up"}

Table = tuple[Sequence[str], list[Sequence[str]]]


def remarks(view: Mapping[str, Any]) -> list[str]:
    """What is to be known first, a sentence each."""
    found: list[str] = []
    stopping, reason = view.get("stopping"), view.get("reason")
    if stopping and view["ended"] is None:
        found.append(STOPPING[stopping["how"]] + (f": {stopping['reason']}" if stopping["reason"] else ""))
    if reason:
        found.append(f"{view['status']}: {reason}")
    for key, words in (("next", "went on as {}"), ("previous", "goes on from {}"), ("parent", "child of {}"),
                       ("schedule", "started by schedule {}"), ("queue", "in queue {}")):  # fmt: skip
        if view.get(key):
            found.append(words.format(view[key]))
    owed = owing(view)
    if owed:
        found.append(owed_words(owed))
    return found


def owing(view: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the run owes outside; some of it may have been given up."""
    return [one for one in view.get("obligations") or () if one["ended"] is None]


def owed_words(owed: Sequence[Mapping[str, Any]]) -> str:
    """``2 open obligations, 1 failed``."""
    failed = sum(one["status"] == "failed" for one in owed)
    text = f"{len(owed)} open {'obligation' if len(owed) == 1 else 'obligations'}"
    return f"{text}, {failed} failed" if failed else text


def tables(view: Mapping[str, Any]) -> Iterator[Table]:
    """Head and rows of each kind of dealings there is something of."""
    for key, head, fields in (
        ("obligations", ("Obligation", "kind", "status", "why"), ("name", "what", "status", "error")),
        ("children", ("Child run", "workflow", "status", "why"), ("run", "workflow", "status", "error")),
        ("updates", ("Update", "id", "status", "why"), ("name", "id", "status", "error")),
        ("sent", ("Signal sent", "to", "status", "why"), ("name", "run", "status", "error")),
    ):
        rows = [[str(entry[field]) for field in fields] for entry in view.get(key) or ()]
        if rows:
            yield head, rows  # type: ignore[misc]
    if view.get("attributes"):
        yield ("Attribute", "value"), [(name, repr(value)) for name, value in view["attributes"].items()]
    if view.get("memo"):
        yield ("Memo", "value"), [(name, value["preview"]) for name, value in view["memo"].items()]
