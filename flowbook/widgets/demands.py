"""What people do to a run from a picture of it, read from plain JSON: terminate, update, finish a step from outside,
settle what it owes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flowbook.client.asks import Ask, retry_obligation, settle_obligation
from flowbook.core.failure import Failure
from flowbook.core.ids import RunId
from flowbook.core.value import Value
from flowbook.errors import UserError
from flowbook.wire import calls

Encode = Callable[[Any, str], Value]
"""A JSON value as it travels; the text is its name, for messages."""


def terminate(run: str, reason: str, now: bool = False) -> Ask[calls.Outcome]:
    """End the run without its code having a say."""
    return Ask("terminate", calls.Terminate(RunId(run), reason, now), calls.Outcome)


def update(run: str, given: Mapping[str, Any], encode: Encode) -> Ask[Any]:
    """``{name, values, id}``; answered once it is recorded, because a handler may take its time."""
    name, values, mark = given.get("name"), given.get("values") or [], given.get("id")
    if not isinstance(name, str) or not name:
        raise UserError("say which update: 'name' is missing")
    if not isinstance(values, list):
        raise UserError("the arguments of an update are a list")
    if not isinstance(mark, str) or not mark:
        raise UserError("an update needs an 'id', so that it is made once")
    arguments = tuple(encode(value, f"{name}[{number}]") for number, value in enumerate(values))
    return Ask("update", calls.Update(RunId(run), mark, name, arguments, wait=False), calls.UpdateResult)


def complete(given: Mapping[str, Any], encode: Encode) -> Ask[calls.Summary]:
    """``{token, value}`` or ``{token, failure}``, the latter in words."""
    token = given.get("token")
    if not isinstance(token, str) or not token:
        raise UserError("say what to complete: 'token' is missing")
    if "failure" in given:
        failure = Failure("Failed", str(given["failure"]), retryable=False)
        return Ask("complete", calls.Complete(token, failure=failure), calls.Summary)
    return Ask("complete", calls.Complete(token, encode(given.get("value"), "the answer")), calls.Summary)


def settle(run: str, given: Mapping[str, Any]) -> Ask[calls.Summary]:
    """``{key, note}``: nothing is owed any more, and why."""
    return settle_obligation(run, _owed(given), str(given.get("note") or ""))


def retry(run: str, given: Mapping[str, Any]) -> Ask[calls.Summary]:
    """``{key}``: have it tried again to take it back."""
    return retry_obligation(run, _owed(given))


def _owed(given: Mapping[str, Any]) -> str:
    key = given.get("key")
    if not isinstance(key, str) or not key:
        raise UserError("say which obligation: its 'key' is missing")
    return key
