"""Who is next in a queue: limits, rate, priority and fairness, exact and without a clock.

What runs is told by the engine, which knows it from the runs; a dispatcher remembers nothing that cannot be told
again after a restart.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flowbook.core.event import Place
from flowbook.core.ids import Key, RunId, WorkerId
from flowbook.core.queues import NO_LIMITS, Limits

TicketId = tuple[RunId, Key]
"""A step of a run; a run itself has the key ""."""

_Lane = tuple[str, Place | None]


class Ticket(NamedTuple):
    """Something that waits its turn. ``place`` is where it can run, None for a run, which needs no worker yet.

    A higher ``priority`` goes first; of the same priority the concurrency ``key``s take turns, and within a key the
    first to come goes first.
    """

    id: TicketId
    place: Place | None = None
    priority: int = 0
    key: str = ""


class Server(NamedTuple):
    """A worker that serves the queue. ``free``: how many more tasks, of any queue, it would take."""

    worker: WorkerId
    place: Place
    free: int


class Grant(NamedTuple):
    """It is the ticket's turn; ``worker`` is None for a run."""

    ticket: Ticket
    worker: WorkerId | None


class Dispatcher:
    """One queue. Never more run than its limits allow; nothing of equal priority starves."""

    def __init__(self, limits: Limits = NO_LIMITS, *, paused: bool = False) -> None:
        self.limits = limits
        self.paused = paused
        self._lanes: dict[int, OrderedDict[_Lane, deque[Ticket]]] = {}
        self._waiting: dict[TicketId, Ticket] = {}
        self._running: dict[TicketId, Grant] = {}
        self._keys: Counter[str] = Counter()
        self._workers: Counter[WorkerId | None] = Counter()
        self._places: Counter[Place | None] = Counter()
        self._begun: deque[float] = deque()

    # What the engine tells

    def offer(self, ticket: Ticket) -> None:
        """The ticket waits from now on. One that waits already keeps its turn."""
        before = self._waiting.get(ticket.id)
        if before == ticket or ticket.id in self._running:
            return
        if before is not None:
            self.withdraw(ticket.id)
        self._waiting[ticket.id] = ticket
        self._places[ticket.place] += 1
        lanes = self._lanes.setdefault(ticket.priority, OrderedDict())
        lanes.setdefault((ticket.key, ticket.place), deque()).append(ticket)

    def withdraw(self, id: TicketId) -> None:
        """The ticket neither waits nor runs any more."""
        ticket = self._waiting.pop(id, None)
        if ticket is not None:
            self._places[ticket.place] -= 1
        grant = self._running.pop(id, None)
        if grant is not None:
            self._keys[grant.ticket.key] -= 1
            self._workers[grant.worker] -= 1

    def runs(self, ticket: Ticket, worker: WorkerId | None = None) -> None:
        """It runs, whatever the limits say: that is how it was found."""
        if ticket.id in self._running:
            return
        self.withdraw(ticket.id)
        self._running[ticket.id] = Grant(ticket, worker)
        self._keys[ticket.key] += 1
        self._workers[worker] += 1

    def has_begun(self, times: Iterable[float]) -> None:
        """Something of this queue began at these times, in the engine's past."""
        self._begun = deque(sorted([*self._begun, *times]))

    # What the engine asks

    def next(self, now: float, servers: Sequence[Server] = ()) -> Grant | None:
        """Hand out one ticket, or None where nothing may begin now. The grant counts as running at once."""
        if not self._may_begin(now):
            return None
        for priority in sorted(self._lanes, reverse=True):
            lanes = self._lanes[priority]
            grant = self._first(lanes, servers)
            if not lanes:
                del self._lanes[priority]
            if grant is not None:
                self.runs(grant.ticket, grant.worker)
                if self.limits.rate is not None and self.limits.rate.count:
                    self._begun.append(now)
                return grant
        return None

    def _may_begin(self, now: float) -> bool:
        limit = self.limits.concurrency
        if self.paused or not self._waiting or (limit and len(self._running) >= limit):
            return False
        return self.opens(now) <= now

    def opens(self, now: float) -> float:
        """When the rate next allows a hand-out: not after ``now`` where it does already."""
        rate = self.limits.rate
        if rate is None or not rate.count:
            return now
        while self._begun and self._begun[0] + rate.period <= now:
            self._begun.popleft()
        return now if len(self._begun) < rate.count else self._begun[-rate.count] + rate.period

    def _first(self, lanes: OrderedDict[_Lane, deque[Ticket]], servers: Sequence[Server]) -> Grant | None:
        """The first lane that may go; its next turn comes after all the others'."""
        grant: Grant | None = None
        done: list[_Lane] = []
        for lane, queue in lanes.items():
            key, place = lane
            ticket = self._head(queue)
            if ticket is None:
                done.append(lane)
            elif not self._is_full(key):
                worker = self._worker(place, servers) if place is not None else None
                if place is None or worker is not None:
                    queue.popleft()
                    grant = Grant(ticket, worker)
                    break
        if grant is not None:
            lanes.move_to_end(lane)
        for empty in done:
            del lanes[empty]
        return grant

    def _head(self, queue: deque[Ticket]) -> Ticket | None:
        """The first ticket of a lane that still waits."""
        while queue and self._waiting.get(queue[0].id) is not queue[0]:
            queue.popleft()
        return queue[0] if queue else None

    def _is_full(self, key: str) -> bool:
        limit = self.limits.key_concurrency
        return bool(key and limit and self._keys[key] >= limit)

    def _worker(self, place: Place, servers: Sequence[Server]) -> WorkerId | None:
        """The worker of the place with the most room."""
        limit = self.limits.worker_concurrency
        best: Server | None = None
        for server in servers:
            if server.place != place or server.free <= 0 or (limit and self._workers[server.worker] >= limit):
                continue
            if best is None or server.free > best.free:
                best = server
        return best.worker if best is not None else None

    # What people see

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many run."""
        return len(self._running)

    def is_waiting(self, id: TicketId) -> bool:
        """True when this ticket waits."""
        return id in self._waiting

    def places(self) -> list[Place]:
        """Where the waiting tickets need a worker."""
        return [place for place, count in self._places.items() if count > 0 and place is not None]
