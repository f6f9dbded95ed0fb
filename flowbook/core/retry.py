"""Back-off as arithmetic. Names follow Temporal's RetryPolicy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from flowbook.core.duration import finite
from flowbook.core.failure import Failure
from flowbook.errors import UserError


class RetryPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a failed step is tried again; intervals in seconds or as "30s", ``maximum_attempts`` 0 means no limit.

    ``jitter`` is the fraction of the interval that may be added or taken away (0 to 1);
    ``non_retryable`` lists exception classes, or their names; what derives from one is not retried either.
    """

    initial_interval: float = 1.0
    backoff_coefficient: float = 2.0
    maximum_interval: float = 100.0
    maximum_attempts: int = 1
    non_retryable: tuple[Any, ...] = ()
    jitter: float = 0.0

    if TYPE_CHECKING:

        def __init__(
            self,
            initial_interval: float | str = 1.0,
            backoff_coefficient: float = 2.0,
            maximum_interval: float | str = 100.0,
            maximum_attempts: int = 1,
            non_retryable: Any = (),
            jitter: float = 0.0,
        ) -> None: ...

    def __post_init__(self) -> None:
        for name in ("initial_interval", "maximum_interval"):
            msgspec.structs.force_setattr(self, name, _interval(name, getattr(self, name)))
        _require("backoff_coefficient", self.backoff_coefficient, 1, 1000)
        _require("jitter", self.jitter, 0, 1)
        if type(self.maximum_attempts) is not int or self.maximum_attempts < 0:
            raise UserError(
                f"RetryPolicy(maximum_attempts={self.maximum_attempts!r}): write a whole number, or 0 for no limit"
            )
        given: Any = self.non_retryable
        # One class may stand for a list of one; of a text, else each letter would be a name.
        kinds = (given,) if isinstance(given, str | type) else tuple(given)
        msgspec.structs.force_setattr(self, "non_retryable", tuple(getattr(kind, "__name__", kind) for kind in kinds))

    def interval(self, attempt: int, spread: float = 0.0, failure: Failure | None = None) -> float:
        """Seconds to wait after ``attempt`` (from 1) failed; ``spread`` in -1..1 places the jitter.

        A failure that says itself when to try again (``RetryAfter``) is heard.
        """
        if failure is not None and failure.retry_after:
            return failure.retry_after
        exponent = min(attempt - 1, 64)
        base = min(self.initial_interval * self.backoff_coefficient**exponent, self.maximum_interval)
        return max(0.0, base * (1.0 + self.jitter * spread))

    def allows(self, attempt: int, failure: Failure) -> bool:
        """True when another attempt may follow ``attempt``, which ended with ``failure``."""
        if not failure.retryable or any(name in self.non_retryable for name in (failure.type, *failure.bases)):
            return False
        return self.maximum_attempts == 0 or attempt < self.maximum_attempts


def _interval(name: str, given: Any) -> float:
    try:
        return finite(given)
    except UserError as error:
        raise UserError(f"RetryPolicy({name}={given!r}): {error}") from None


def _require(name: str, given: Any, least: int, most: int) -> None:
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if not is_number or not least <= given <= most:
        raise UserError(f"RetryPolicy({name}={given!r}): write a number from {least} to {most}")


ONCE = RetryPolicy()


def policy(retry: RetryPolicy | int | None) -> RetryPolicy:
    """What people give as ``retry``: a policy, or a number of attempts. Raises UserError for anything else."""
    if retry is None:
        return ONCE
    if isinstance(retry, RetryPolicy):
        return retry
    if type(retry) is not int or retry < 1:
        raise UserError(
            f"retry={retry!r} does not say how often: write the number of attempts (retry=3), leave it out for one, or "
            "give RetryPolicy(maximum_attempts=0) for no limit"
        )
    return RetryPolicy(maximum_attempts=retry)
