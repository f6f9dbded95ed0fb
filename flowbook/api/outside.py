"""What is finished from outside by its token, and what runs owe outside."""

from __future__ import annotations

import json
from typing import Any

from flowbook.api.connection import connect
from flowbook.api.project import table
from flowbook.api.rows import Rows
from flowbook.core import options
from flowbook.core.failure import Failure
from flowbook.core.value import untagged

_OWED = """
select o.run, r.status, o.name, o.what, epoch(o.since) as since, o.status = 'failed' as failed, o.key,
    o.step, o.arguments, o.result, o.undo, o.error_type, o.error_message, o.trying
from obligations o join runs r on r.id = o.run
where o.status in ('open', 'failed', 'retrying') order by o.since, o.run, o.key
"""

LIMIT = 10_000


def complete(token: str, value: Any = None) -> None:
    """Finish what a token stands for, a step or an awakeable, with a value.

    Raises UserError where the token is none, or nothing waits for it any more.
    """
    connection = connect()
    connection.client.complete(options.text("a token", token), connection.encode(value, "value"))


def fail(token: str, message: str, *, retryable: bool = True) -> None:
    """Finish what a token stands for with a failure; unless ``retryable`` is false, its retry policy has a say."""
    text = options.text("the message of a failure", message)
    failure = Failure(type="CompletedOutside", message=text, retryable=retryable)
    connect().client.complete(options.text("a token", token), failure=failure)


def obligations() -> Rows:
    """What this project's runs owe outside, oldest first.

    A row has ``run``, ``name``, ``what``, ``since``, ``failed`` and more. Those of ended runs are there as well: nobody
    will settle them but people, with ``get_run(run).obligations``.
    """
    found = table(connect(), _OWED, LIMIT)
    for row in found:
        for name in ("arguments", "result"):
            row[name] = None if row[name] is None else untagged(json.loads(row[name]))
    return found
