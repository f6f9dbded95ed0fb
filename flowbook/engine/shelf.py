"""The queues of one engine: what was set for each, what the code last said, and its dispatcher."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from flowbook.core.dispatch import Dispatcher, TicketId
from flowbook.core.ids import Seq
from flowbook.core.queues import (
    NO_LIMITS,
    PREFIX,
    AnyQueueMessage,
    Limits,
    QueueRecorded,
    QueueState,
    decide,
    evolve,
    stream,
)
from flowbook.engine.clock import Clock
from flowbook.store.base import Group, Store

_decode = msgspec.json.Decoder(QueueRecorded).decode


class LiveQueue:
    """One queue. ``declared`` are the limits of the latest step scheduled for it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = QueueState()
        self.declared: Limits = NO_LIMITS
        self.dispatcher = Dispatcher()
        self.armed: float | None = None

    def declare(self, limits: Limits) -> None:
        """The code says so."""
        if limits not in (NO_LIMITS, self.declared):
            self.declared = limits
            self.apply()

    def apply(self) -> None:
        """Have the dispatcher keep to what holds now."""
        self.dispatcher.limits = self.state.user.over(self.declared).over(self.state.code)
        self.dispatcher.paused = self.state.paused


class Shelf:
    """Queues by name, the one that was served last at the end. Every name is a queue."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, LiveQueue] = OrderedDict()

    def __getitem__(self, name: str) -> LiveQueue:
        found = self._queues.get(name)
        if found is None:
            found = self._queues[name] = LiveQueue(name)
        return found

    def __iter__(self) -> Iterator[LiveQueue]:
        return iter(list(self._queues.values()))

    def was_served(self, queue: LiveQueue) -> None:
        """The others come first now."""
        self._queues.move_to_end(queue.name)

    def withdraw(self, ticket: TicketId) -> None:
        """Wherever it waits or runs, it does no more."""
        for queue in self._queues.values():
            queue.dispatcher.withdraw(ticket)

    def recall(self, store: Store) -> None:
        """Learn at start what was set for which queue."""
        for found, records in store.streams(PREFIX):
            queue = self[found.removeprefix(PREFIX)]
            for record in records:
                evolve(queue.state, _decode(record))
            queue.apply()

    def change(self, name: str, message: AnyQueueMessage, store: Store, clock: Clock) -> LiveQueue:
        """Have a queue set, paused or resumed, durably. Raises StoreError; then nothing has changed."""
        queue, now = self[name], clock.now()
        group = Group()
        recorded = [
            QueueRecorded(Seq(queue.state.seq + number), now, event)
            for number, event in enumerate(decide(queue.state, message), 1)
        ]
        for each in recorded:
            group.note(stream(name), each.seq, each.time, each.event)
        if recorded:
            store.commit(group)
        for each in recorded:
            evolve(queue.state, each)
        queue.apply()
        return queue
