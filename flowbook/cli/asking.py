"""``query`` and ``locals``: what runs have now."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from flowbook.api.connection import Connection, connect
from flowbook.cli import shapes
from flowbook.errors import UserError
from flowbook.runtime.readings import read
from flowbook.wire.calls import HANDLERS

if TYPE_CHECKING:
    from flowbook.core.value import Value


def query(options: Namespace) -> int:
    """``flowbook query``."""
    connection = connect()
    known = handlers(connection, "query", options)
    arguments = taken(connection, options.name, options.arguments, known)
    value = connection.plain(connection.client.query(options.run, options.name, arguments))
    if options.json:
        shapes.emit({"run": options.run, "name": options.name, "value": value})
    else:
        shapes.say(value)
    return 0


def handlers(connection: Connection, kind: str, options: Namespace) -> dict[str, Any]:
    """What the run's code handles now, and how it takes what was typed; nothing where the code cannot say.

    Raises UserError where it does not take that.
    """
    # What is asked is the last run of the id, which is the one that what is typed is for.
    summary = connection.client.wait(options.run, 0.0)
    has_ended = summary["ended"] is not None
    if summary["status"] in ("queued", "paused") or (has_ended and kind != "query"):
        return {}
    words = [options.value] if kind == "signal" else options.arguments
    asked = tuple(connection.encode(value, options.name) for value in (kind, options.name, words))
    known: dict[str, Any] = connection.plain(connection.client.query(options.run, HANDLERS, asked))
    if "problem" in known:
        raise UserError(f"run '{options.run}': {known['problem']}")
    return known


def taken(connection: Connection, name: str, words: list[str], known: dict[str, Any]) -> tuple[Value, ...]:
    """The words that were typed, as values: JSON or text, whichever the handler takes."""
    texts = known.get("texts", [False] * len(words))
    values = [word if is_text else read(word) for word, is_text in zip(words, texts, strict=True)]
    return tuple(connection.encode(value, name) for value in values)


def variables(options: Namespace) -> int:
    """``flowbook locals``."""
    from flowbook.api.moment import Values

    connection = connect()
    found = connection.client.at(options.run, connection.client.run(options.run)["seq"])
    if options.json:
        shapes.emit(shapes.moment(found, connection))
    else:
        print(Values(found["values"], connection))
    return 0
