"""How many and for how long: what makes no sense is refused before anybody is asked."""

from __future__ import annotations

from flowbook.core.duration import seconds
from flowbook.errors import UserError


def at_least_one(name: str, count: int) -> int:
    """``count``. Raises UserError where it is none that can be asked for."""
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise UserError(f"{name} is {count!r}; it has to be a whole number from 1")
    return count


def query_time(timeout: float | str) -> float:
    """How long a query may take, in seconds. Raises UserError."""
    length = seconds(timeout)
    if not length:
        raise UserError(f"timeout={timeout!r} leaves the query no time; write for example '5m'")
    return length
