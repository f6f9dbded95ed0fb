"""Calls about queues and their workers: parameters and results of each method. Shapes only.

``queues`` takes nothing and answers a list of ``QueueStatus``.
"""

from __future__ import annotations

from typing import TypedDict

from flowbook.core.queues import DeleteQueue, PauseQueue, ResumeQueue, SetLimits
from flowbook.wire.calls import Call


class ChangeQueue(Call, frozen=True):
    """change_queue: set limits, pause, resume, delete; answers a ``QueueStatus``, of a deleted one the last."""

    name: str
    change: SetLimits | PauseQueue | ResumeQueue | DeleteQueue


class DrainWorker(Call, frozen=True):
    """drain: have a worker take nothing new and leave; ``worker`` is its id or its process id. Answers its pid."""

    worker: str


class QueueLimits(TypedDict):
    """What holds; None for no limit. ``rate`` as people write it."""

    concurrency: int | None
    worker_concurrency: int | None
    key_concurrency: int | None
    rate: str | None


class QueueStatus(TypedDict):
    """One queue: how much waits and runs (steps and runs together), its limits and its workers' process ids.

    ``paused_since`` is in unix seconds, None where it is not paused. ``new``: nothing was known of it before.
    """

    name: str
    waiting: int
    running: int
    limits: QueueLimits
    paused: bool
    reason: str
    paused_since: float | None
    workers: list[int]
    new: bool
