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
    """runs: summaries, newest first.

    ``status`` keeps those with it, ``where`` those that meet all these predicates over the view ``runs``. ``timeout``
    is in seconds.
    """

    limit: int = 100
    status: str = ""
    where: tuple[str, ...] = ()
    timeout: float = 60.0


class OfRun(Call, frozen=True):
    """run, resume: one run by id."""

    run: RunId


MOST_EVENTS = 5000
"""Events in one answer."""


class GetHistory(Call, frozen=True):
    """history: events after a sequence number, at most ``limit`` and ``MOST_EVENTS``; 0 is no limit of one's own."""

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


class Terminate(Call, frozen=True):
    """terminate: answers like ``cancel``; ``now`` leaves what the run owes outside as it is."""

    run: RunId
    reason: str = ""
    now: bool = False


class Update(Call, frozen=True):
    """update: answers ``UpdateResult`` once the handler has ended; without ``wait`` once it is recorded."""

    run: RunId
    id: str
    name: str
    arguments: tuple[Value, ...] = ()
    keywords: dict[str, Value] = {}
    wait: bool = True


class OfUpdate(Call, frozen=True):
    """update_result: how an update that was recorded with ``run`` ended; answers ``UpdateResult`` when it has."""

    run: RunId
    id: str
    name: str


class SettleObligation(Call, frozen=True):
    """settle_obligation: say that what this very run owes is settled; answers its summary."""

    run: RunId
    obligation: str
    note: str


class RetryObligation(Call, frozen=True):
    """retry_obligation: have it tried again to take back what this very run owes; answers its summary."""

    run: RunId
    obligation: str


class Complete(Call, frozen=True):
    """complete: finish the step ``token`` stands for, with ``value`` or ``failure``; answers the run's summary."""

    token: str
    value: Value | None = None
    failure: Failure | None = None


class Move(Call, frozen=True):
    """move: have the run go on with other code. It is checked first; answers ``Fit``."""

    run: RunId
    module: Digest
    source: str = ""


class Ask(Call, frozen=True):
    """query: call a query handler of the run's code, changing nothing; answers its value."""

    run: RunId
    name: str
    arguments: tuple[Value, ...] = ()
    keywords: dict[str, Value] = {}


HANDLERS = "$handlers"
"""The query that every run answers: which ``queries`` it answers and which ``updates`` it handles now.

With a kind ("query", "update", "signal"), a handler's name and words typed in a shell, also which of these are
``texts`` although they are JSON, or what the ``problem`` with them is; neither where there is no such handler.
"""


class CheckRuns(Call, frozen=True):
    """check_runs: would these open runs go on with this module? Answers a list of ``Fit``."""

    module: Digest
    runs: tuple[RunId, ...] = ()


class Wait(Call, frozen=True):
    """wait: the summary once the run is closed or paused, or when ``timeout`` seconds have passed."""

    run: RunId
    timeout: float | None = None


class Watch(Call, frozen=True):
    """watch: updates of one run's view, or of the list of runs.

    ``settled``: also after the run's end, for as long as it owes something outside.
    """

    run: RunId | None = None
    settled: bool = False


class Query(Call, frozen=True):
    """sql: one read-only statement, which is interrupted after ``timeout`` seconds."""

    query: str
    limit: int = 1000
    timeout: float = 60.0


class Forget(Call, frozen=True):
    """forget: nobody waits for the answer to ``request`` any more; what still works on it ends."""

    request: int


class Stop(Call, frozen=True):
    """stop: the engine leaves once its workers have; their running steps have ``grace`` seconds to end."""

    grace: float = 30.0


class Nothing(Call, frozen=True):
    """status: no parameters."""


class UpdateResult(TypedDict):
    """How an update ended: ``completed`` with ``value``, ``failed`` or ``rejected`` with ``error``; or ``received``."""

    id: str
    run: str
    status: str
    value: Value | None
    error: Failure | None


class Fit(TypedDict):
    """Whether a run fits other code: ``green`` (yes), ``amber`` (yes, but steps it has done were edited) or ``red``.

    ``edited`` names those steps; ``reason`` and ``difference`` say where a red one first differs.
    """

    run: str
    fit: str
    edited: list[str]
    reason: str
    difference: dict[str, Any]


class Pending(TypedDict):
    """Something an open run waits for."""

    key: str
    kind: str
    name: str
    due: float | None
    since: float


class Owed(TypedDict):
    """Something a run owes outside; ``failed``: taking it back was given up, ``error`` says why.

    It is owed for ``step`` with ``arguments``, which returned ``result``. ``undo`` takes it back; ``trying`` is the run
    that does so again. Each is "", or None, where there is none.
    """

    key: str
    name: str
    what: str
    since: float
    failed: bool
    step: str
    arguments: dict[str, Value]
    result: Value | None
    undo: str
    error: str
    trying: str


class OriginOfRun(TypedDict):
    """Where a fork came from."""

    run: str
    seq: int


class Summary(TypedDict):
    """One run in a few words.

    ``result`` is set when it succeeded, ``error`` when it failed; ``reason`` says why a run is paused or was cancelled.
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
    parent: str
    continued: str
    attributes: dict[str, Any]
    memo: dict[str, Value]
    obligations: list[Owed]
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
    """One worker process. ``busy`` is how many steps it runs, ``tasks`` how many of them are of queues."""

    pid: int
    worker: str
    folder: str
    python: str
    runs: int
    busy: int
    queues: list[str]
    tasks: int
    draining: bool


class Status(TypedDict):
    """The engine about itself.

    ``notices`` is for people: damage mended, disk full. ``stopping``: it leaves when its workers have.
    """

    pid: int
    workers: list[WorkerStatus]
    file: str
    open_runs: int
    version: str
    home: str
    notices: list[str]
    stopping: bool


class Column(TypedDict):
    """Name and SQL type of a column."""

    name: str
    type: str


class Rows(TypedDict):
    """The answer to a query."""

    columns: list[Column]
    rows: list[list[Any]]
    more: bool
