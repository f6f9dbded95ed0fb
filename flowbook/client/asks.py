"""Every call a client can make, as data: method, parameters, and how to read the answer. No IO."""

from __future__ import annotations

import secrets
from typing import Any, Generic, TypeVar

import msgspec

from flowbook import errors
from flowbook.core.events import Origin, Place, Recorded
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, RunId
from flowbook.core.messages import StartRun
from flowbook.core.module import Module
from flowbook.core.value import Value
from flowbook.wire import calls

T = TypeVar("T")


class Ask(Generic[T]):
    """One call. Sent again after a lost connection unless not ``repeatable``."""

    __slots__ = ("_decoder", "method", "params", "repeatable")

    def __init__(self, method: str, params: msgspec.Struct, answer: Any = Any, repeatable: bool = True) -> None:
        self.method = method
        self.params = params
        self.repeatable = repeatable
        self._decoder = _decoder(answer)

    def read(self, result: bytes | msgspec.Raw) -> T:
        """The answer as a Python value."""
        answer: T = self._decoder.decode(result)
        return answer


_decoders: dict[str, msgspec.json.Decoder[Any]] = {}


def _decoder(answer: Any) -> msgspec.json.Decoder[Any]:
    name = repr(answer)
    if name not in _decoders:
        _decoders[name] = msgspec.json.Decoder(answer)
    return _decoders[name]


def error_of(error: dict[str, str]) -> errors.FlowbookError:
    """The exception that an answer's ``error`` stands for."""
    kind = getattr(errors, error.get("type", ""), errors.FlowbookError)
    message = error.get("message", "the engine gave no reason")
    if isinstance(kind, type) and issubclass(kind, errors.FlowbookError):
        return kind(message)
    return errors.FlowbookError(message)


def put_module(module: Module) -> Ask[Digest]:
    """Store a module."""
    return Ask("put_module", calls.PutModule(module), Digest)


def module(digest: str) -> Ask[Module]:
    """A stored module."""
    return Ask("module", calls.GetModule(Digest(digest)), Module)


def start(
    run: str,
    workflow: str,
    module: str,
    place: Place,
    arguments: dict[str, Value],
    name: str,
    source: str,
    origin: Origin | None,
    seed: str,
) -> Ask[calls.Summary]:
    """Start a run."""
    message = StartRun(
        run=RunId(run),
        workflow=workflow,
        module=Digest(module),
        place=place,
        arguments=arguments,
        name=name,
        source=source,
        origin=origin,
        seed=seed,
    )
    return Ask("start", message, calls.Summary)


def runs(limit: int, status: str) -> Ask[list[calls.Summary]]:
    """Summaries, newest first."""
    return Ask("runs", calls.ListRuns(limit, status), list[calls.Summary])


def run(run: str) -> Ask[calls.Summary]:
    """One summary."""
    return Ask("run", calls.OfRun(RunId(run)), calls.Summary)


def history(run: str, after: int, limit: int) -> Ask[list[Recorded]]:
    """Events of a run."""
    return Ask("history", calls.GetHistory(RunId(run), after, limit), list[Recorded])


def view(run: str, at: int | None) -> Ask[dict[str, Any]]:
    """A view."""
    return Ask("view", calls.GetView(RunId(run), at))


def moment(run: str, at: int) -> Ask[calls.Moment]:
    """Frames and values."""
    return Ask("at", calls.GetMoment(RunId(run), at), calls.Moment)


def signal(run: str, name: str, value: Value, id: str) -> Ask[calls.Summary]:
    """Send a signal; without an ``id`` one is drawn, so that sending it again is harmless."""
    return Ask("signal", calls.Signal(RunId(run), name, value, id or secrets.token_hex(8)), calls.Summary)


def cancel(run: str, reason: str) -> Ask[calls.Outcome]:
    """Ask a run to stop."""
    return Ask("cancel", calls.Cancel(RunId(run), reason), calls.Outcome)


def terminate(run: str, reason: str, now: bool) -> Ask[calls.Outcome]:
    """End a run without asking its code."""
    return Ask("terminate", calls.Terminate(RunId(run), reason, now), calls.Outcome)


def update(
    run: str, name: str, arguments: tuple[Value, ...], keywords: dict[str, Value], id: str, wait: bool
) -> Ask[calls.UpdateResult]:
    """Send an update; without an ``id`` one is drawn, so that sending it again is harmless."""
    sent = calls.Update(RunId(run), id or secrets.token_hex(8), name, arguments, keywords, wait)
    return Ask("update", sent, calls.UpdateResult)


def update_result(run: str, id: str, name: str) -> Ask[calls.UpdateResult]:
    """How an update ended."""
    return Ask("update_result", calls.OfUpdate(RunId(run), id, name), calls.UpdateResult)


def complete(token: str, value: Value | None, failure: Failure | None) -> Ask[calls.Summary]:
    """Finish what a token stands for. Not sent again: a second time it is refused."""
    return Ask("complete", calls.Complete(token, value, failure), calls.Summary, repeatable=False)


def settle_obligation(run: str, obligation: str, note: str) -> Ask[calls.Summary]:
    """Settle what a run owes. Not sent again: a second time nothing is owed."""
    asked = calls.SettleObligation(RunId(run), obligation, note)
    return Ask("settle_obligation", asked, calls.Summary, repeatable=False)


def retry_obligation(run: str, obligation: str) -> Ask[calls.Summary]:
    """Try again to take back what a run owes. Not sent again: a second time somebody is at it."""
    asked = calls.RetryObligation(RunId(run), obligation)
    return Ask("retry_obligation", asked, calls.Summary, repeatable=False)


def query(run: str, name: str, arguments: tuple[Value, ...], keywords: dict[str, Value]) -> Ask[Value]:
    """Call a query handler."""
    return Ask("query", calls.Ask(RunId(run), name, arguments, keywords), Value)


def move(run: str, module: str, source: str) -> Ask[calls.Fit]:
    """Have a run go on with other code."""
    return Ask("move", calls.Move(RunId(run), Digest(module), source), calls.Fit)


def check_runs(module: str, runs: tuple[str, ...]) -> Ask[list[calls.Fit]]:
    """Would open runs go on with this code."""
    return Ask("check_runs", calls.CheckRuns(Digest(module), tuple(map(RunId, runs))), list[calls.Fit])


def resume(run: str) -> Ask[calls.Summary]:
    """End a pause."""
    return Ask("resume", calls.OfRun(RunId(run)), calls.Summary)


def wait(run: str, timeout: float | None) -> Ask[calls.Summary]:
    """Wait for the end or a pause."""
    return Ask("wait", calls.Wait(RunId(run), timeout), calls.Summary)


def watch(run: str | None, settled: bool = False) -> Ask[dict[str, Any]]:
    """Follow a run, or the list of runs."""
    return Ask("watch", calls.Watch(None if run is None else RunId(run), settled))


def sql(query: str, limit: int, timeout: float) -> Ask[calls.Rows]:
    """Query the history."""
    return Ask("sql", calls.Query(query, limit, timeout), calls.Rows)


def status() -> Ask[calls.Status]:
    """The engine about itself."""
    return Ask("status", calls.Nothing(), calls.Status)


def stop(grace: float) -> Ask[None]:
    """Stop the engine."""
    return Ask("stop", calls.Stop(grace), repeatable=False)
