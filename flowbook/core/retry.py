"""Back-off as arithmetic. Names follow Temporal's RetryPolicy."""

from __future__ import annotations

from typing import Any

import msgspec

from flowbook.core.failure import Failure


class RetryPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a failed step is tried again; intervals in seconds, ``maximum_attempts`` 0 means no limit.

    ``jitter`` is the fraction of the interval that may be added or taken away (0 to 1);
    ``non_retryable`` lists exception classes, or their names; what derives from one is not retried either.
    """

    initial_interval: float = 1.0
    backoff_coefficient: float = 2.0
    maximum_interval: float = 100.0
    maximum_attempts: int = 1
    non_retryable: tuple[Any, ...] = ()
    jitter: float = 0.0

    def __post_init__(self) -> None:
        names = tuple(getattr(kind, "__name__", kind) for kind in self.non_retryable)
        if names != self.non_retryable:
            msgspec.structs.force_setattr(self, "non_retryable", names)

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


ONCE = RetryPolicy()
