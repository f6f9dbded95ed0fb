"""The client's calls: parameters and results of each method, for both ends of the socket. Shapes only."""

from __future__ import annotations

from typing import Any, TypedDict

import msgspec

from flowbook.core.failure import Failure, Frame
from flowbook.core.ids import Digest, RunId
from flowbook.core.module import Module
from flowbook.core.value import Value


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """Parameters of one method."""


class PutModule(Call, frozen=True):
    """put_module: store a module; answers its digest."""

    module: Module


class GetModule(Call, frozen=True):
    """module: a stored module by digest."""

    digest: Digest


class ListRuns(Call, frozen=True):
    """runs: summaries, newest first; ``status`` keeps those with it."""

    limit: int = 100
    status: str = ""


class OfRun(Call, frozen=True):
    """run, resume: one run by id."""

    run: RunId


class GetHistory(Call, frozen=True):
    """history: events after a sequence number; ``limit`` 0 means all."""

    run: RunId
    after: int = 0
    limit: int = 0


class GetView(Call, frozen=True):
    """view: the view as of event ``at``, or now."""

    run: RunId
    at: int | None = None


class GetMoment(Call, frozen=True):
    """at: frames and values as of event ``at``."""

    run: RunId
    at: int


class Signal(Call, frozen=True):
    """signal: ``id`` makes it idempotent."""

    run: RunId
    name: str
    value: Value
    id: str = ""


class Cancel(Call, frozen=True):
    """cancel: answers ``{"outcome": "cancelled" | "already done" | "queued"}``."""

    run: RunId
    reason: str = ""


class Wait(Call, frozen=True):
    """wait: the summary once the run is closed or paused, or when ``timeout`` seconds have passed."""

    run: RunId
    timeout: float | None = None


class Watch(Call, frozen=True):
    """watch: updates of one run's view, or of the list of runs."""

    run: RunId | None = None


class Query(Call, frozen=True):
    """sql: one read-only statement."""

    query: str
    limit: int = 1000


class Nothing(Call, frozen=True):
    """status, stop: no parameters."""


class Pending(TypedDict):
    """Something an open run waits for."""

    key: str
    kind: str
    name: str
    due: float | None
    since: float


class OriginOfRun(TypedDict):
    """Where a fork came from."""

    run: str
    seq: int


class Summary(TypedDict):
    """One run in a few words. ``result`` is set when it succeeded, ``error`` when it failed;

    ``reason`` says why a run is paused or was cancelled.
    """

    id: str
    workflow: str
    name: str
    status: str
    result: Value | None
    error: Failure | None
    step: str
    reason: str
    started: float
    ended: float | None
    seq: int
    module: str
    source: str
    origin: OriginOfRun | None
    waits: list[Pending]


class Moment(TypedDict):
    """Frames and values as of one event. ``stack`` is innermost task first."""

    event: int
    stack: list[Frame]
    values: dict[str, Value]


class Outcome(TypedDict):
    """What a cancel did."""

    outcome: str


class WorkerStatus(TypedDict):
    """One worker process."""

    pid: int
    worker: str
    folder: str
    python: str
    runs: int
    busy: int


class Status(TypedDict):
    """The engine about itself. ``notices`` is for people: damage mended, disk full."""

    pid: int
    workers: list[WorkerStatus]
    file: str
    open_runs: int
    version: str
    home: str
    notices: list[str]


class Column(TypedDict):
    """Name and SQL type of a column."""

    name: str
    type: str


class Rows(TypedDict):
    """The answer to a query."""

    columns: list[Column]
    rows: list[list[Any]]
    more: bool
