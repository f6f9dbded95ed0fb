"""The calls about many runs at once: parameters and results, for both ends of the socket. Shapes only."""

from __future__ import annotations

from typing import TypedDict

from flowbook.core.ids import RunId
from flowbook.core.messages import CancelRun, ResumeRun, SendSignal, TerminateRun
from flowbook.wire.calls import Call


class MatchRuns(Call, frozen=True):
    """match_runs: the open runs that meet a predicate over the view ``runs``, oldest first; answers ``MatchedRun``s.

    ``paused``: only those that are. ``timeout`` is in seconds.
    """

    where: str
    paused: bool = False
    timeout: float = 60.0


class TellRuns(Call, frozen=True):
    """tell_runs: the same to many runs; answers a ``ToldRun`` for each, in their order, once all is durable."""

    runs: tuple[RunId, ...]
    message: CancelRun | TerminateRun | ResumeRun | SendSignal


class MatchedRun(TypedDict):
    """An open run."""

    id: str
    workflow: str
    status: str
    started: float


class ToldRun(TypedDict):
    """What came of it: ``outcome`` as the call for one run gives it, or ``error``."""

    run: str
    outcome: str | None
    error: str | None
