"""The calls about many runs at once, as data. No IO."""

from __future__ import annotations

from collections.abc import Sequence

from flowbook.client.asks import Ask
from flowbook.core.ids import RunId
from flowbook.core.messages import CancelRun, ResumeRun, SendSignal, TerminateRun
from flowbook.wire.calls import ListRuns, Summary
from flowbook.wire.many import MatchedRun, MatchRuns, TellRuns, ToldRun


def runs(where: Sequence[str], limit: int, status: str, timeout: float) -> Ask[list[Summary]]:
    """Summaries of runs that meet all conditions, newest first."""
    return Ask("runs", ListRuns(limit, status, tuple(where), timeout), list[Summary])


def match(where: str, paused: bool, timeout: float) -> Ask[list[MatchedRun]]:
    """The open runs that meet a predicate."""
    return Ask("match_runs", MatchRuns(where, paused, timeout), list[MatchedRun])


def tell(runs: Sequence[str], message: CancelRun | TerminateRun | ResumeRun | SendSignal) -> Ask[list[ToldRun]]:
    """The same to all of them."""
    return Ask("tell_runs", TellRuns(tuple(map(RunId, runs)), message), list[ToldRun])
