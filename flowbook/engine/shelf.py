"""The queues of one engine: what was set for each, what the code last said, and its dispatcher."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from flowbook.core.dispatch import Dispatcher, TicketId
from flowbook.core.events import Recorded, StepScheduled
from flowbook.core.ids import Seq
from flowbook.core.queues import (
    NO_LIMITS,
    PREFIX,
    AnyQueueMessage,
    DeleteQueue,
    Limits,
    QueueRecorded,
    QueueState,
    decide,
    evolve,
    limits_from,
    stream,
)
from flowbook.engine.clock import Clock
from flowbook.store.base import Group, Store, decode_recorded

_decode = msgspec.json.Decoder(QueueRecorded).decode


class LiveQueue:
    """One queue. ``declared`` are the limits of the latest step scheduled for it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = QueueState()
        self.declared: Limits = NO_LIMITS
        self.dispatcher = Dispatcher()
        self.armed: float | None = None

    @property
    def is_there(self) -> bool:
        """False for one that was deleted and of which nothing was heard since."""
        used = self.dispatcher.waiting or self.dispatcher.running or self.declared != NO_LIMITS
        return bool(used) or not self.state.deleted

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

    def __contains__(self, name: str) -> bool:
        return name in self._queues and self._queues[name].is_there

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
        """Learn at start what was set for which queue, and what the code last said."""
        for found, records in store.streams(PREFIX):
            queue = self[found.removeprefix(PREFIX)]
            for record in records:
                evolve(queue.state, _decode(record))
            queue.apply()
        for record in store.latest_scheduled():
            self._recall_code(decode_recorded(record))

    def _recall_code(self, recorded: Recorded) -> None:
        assert isinstance(recorded.event, StepScheduled)
        limits = limits_from(recorded.event.options.get("limits"))
        if limits != NO_LIMITS and recorded.time > self[recorded.event.queue].state.deleted:
            self[recorded.event.queue].declare(limits)

    def change(self, name: str, message: AnyQueueMessage, store: Store, clock: Clock) -> LiveQueue:
        """Have a queue set, paused, resumed or deleted, durably. Raises StoreError; then nothing has changed."""
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
        if isinstance(message, DeleteQueue):
            queue.declared = NO_LIMITS
            if not queue.state.seq:
                del self._queues[name]
        queue.apply()
        return queue
