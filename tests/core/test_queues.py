"""Queues: what people write and what is recorded; and the laws of who is next."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowbook.core import queues as q
from flowbook.core.dispatch import Dispatcher, Server, Ticket
from flowbook.core.event import Place
from flowbook.core.ids import Key, RunId, Seq, WorkerId
from flowbook.core.queues import Limits, Rate
from flowbook.errors import UserError

HERE, THERE = Place("/here", "python"), Place("/there", "python")
RATES = {"10/s": Rate(10, 1.0), "100/m": Rate(100, 60.0), "5 / 30s": Rate(5, 30.0), "1/d": Rate(1, 86400.0)}


@pytest.mark.parametrize(("text", "meant"), RATES.items(), ids=str)
def test_a_rate_is_read(text: str, meant: Rate) -> None:
    assert q.rate(text) == meant


@pytest.mark.parametrize("meant", [*RATES.values(), Rate(0)], ids=str)
def test_a_rate_is_written_as_it_is_read(meant: Rate) -> None:
    assert q.rate(str(meant)) == meant


@pytest.mark.parametrize("text", ["10/x", "0/s", "/s", "10", "10/", "-1/s", "1.5/s", "10/0s", ""])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="not a rate"):
        q.rate(text)


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "many", "-3"])
def test_a_limit_is_a_whole_number_from_one(count: Any) -> None:
    with pytest.raises(UserError, match="whole number from 1"):
        q.Queue("gpu", concurrency=count)


@pytest.mark.parametrize("name", ["", " gpu", "a/b", "-x", "$queue", "x" * 65, 3, None])
def test_what_cannot_name_a_queue_is_refused(name: Any) -> None:
    with pytest.raises(UserError, match="cannot be the name of a queue"):
        q.Queue(name)


LIMITS = st.builds(
    Limits,
    concurrency=st.none() | st.integers(0, 4),
    worker_concurrency=st.none() | st.integers(0, 3),
    key_concurrency=st.none() | st.integers(0, 2),
    rate=st.none() | st.builds(Rate, st.integers(0, 3), st.sampled_from([0.1, 1.0, 2.5])),
)


@given(LIMITS)
def test_limits_survive_travelling(limits: Limits) -> None:
    assert q.limits_from(limits.plain()) == limits


@given(LIMITS, LIMITS, LIMITS)
def test_what_is_said_first_counts(first: Limits, second: Limits, third: Limits) -> None:
    assert first.over(second).over(third) == first.over(second.over(third))
    assert first.over(first) == first
    assert first.over(Limits()) == Limits().over(first) == first


def told(*messages: q.AnyQueueMessage) -> q.QueueState:
    """The state after these messages, each fact taken over."""
    state = q.QueueState()
    for message in messages:
        for event in q.decide(state, message):
            q.evolve(state, q.QueueRecorded(Seq(state.seq + 1), 1.0, event))
    return state


MESSAGES = st.one_of(
    st.builds(q.SetLimits, limits=LIMITS, by=st.sampled_from(["user", "code"]), reset=st.booleans()),
    st.just(q.PauseQueue("lunch")),
    st.just(q.ResumeQueue()),
)


@given(st.lists(MESSAGES, max_size=8))
def test_what_is_told_twice_is_recorded_once(messages: list[q.AnyQueueMessage]) -> None:
    state = told(*messages)
    for message in messages[-1:]:
        assert not q.decide(state, message)


def test_the_user_counts_more_than_the_code_and_keeps_what_was_set_before() -> None:
    code = q.SetLimits(Limits(concurrency=2, key_concurrency=1), by="code")
    state = told(q.SetLimits(Limits(rate=Rate(5))), q.SetLimits(Limits(concurrency=8)), code)
    assert state.limits == Limits(concurrency=8, key_concurrency=1, rate=Rate(5))
    assert told(q.SetLimits(Limits(concurrency=8)), code, q.SetLimits(reset=True)).limits == code.limits


# Who is next


def ticket(number: int, priority: int = 0, key: str = "", place: Place | None = None) -> Ticket:
    return Ticket((RunId("r"), Key(str(number))), place, priority, key)


def drained(dispatcher: Dispatcher, now: float = 0.0) -> list[str]:
    """The tickets handed out at once, in order."""
    grants = iter(lambda: dispatcher.next(now), None)
    return [grant.ticket.id[1] for grant in grants]


def offered(*tickets: Ticket, **limits: Any) -> Dispatcher:
    dispatcher = Dispatcher(Limits(**limits))
    for each in tickets:
        dispatcher.offer(each)
    return dispatcher


def test_higher_priority_first_then_keys_in_turn_then_first_come() -> None:
    tickets = [ticket(1, key="a"), ticket(2, key="a"), ticket(3, key="b"), ticket(4, 9), ticket(5, key="a")]
    assert drained(offered(*tickets)) == ["4", "1", "3", "2", "5"]


def test_a_full_key_lets_the_others_pass() -> None:
    dispatcher = offered(ticket(1, key="a"), ticket(2, key="a"), ticket(3, key="b"), key_concurrency=1)
    assert drained(dispatcher) == ["1", "3"]
    dispatcher.withdraw(ticket(1).id)
    assert drained(dispatcher) == ["2"]


def test_a_task_goes_where_there_is_most_room_in_its_place() -> None:
    dispatcher = offered(ticket(1, place=HERE), ticket(2, place=THERE), worker_concurrency=1)
    servers = [Server(WorkerId("a"), HERE, 1), Server(WorkerId("b"), HERE, 3), Server(WorkerId("c"), THERE, 0)]
    grant = dispatcher.next(0.0, servers)
    assert grant is not None
    assert (grant.ticket.id[1], grant.worker) == ("1", "b")
    assert dispatcher.next(0.0, servers) is None
    assert dispatcher.places() == [THERE]


def test_offering_again_keeps_the_turn_and_withdrawing_loses_it() -> None:
    dispatcher = offered(ticket(1), ticket(2))
    dispatcher.offer(ticket(1))
    assert drained(dispatcher) == ["1", "2"]
    for number in (1, 2):
        dispatcher.withdraw(ticket(number).id)
    dispatcher.offer(ticket(2))
    dispatcher.offer(ticket(1))
    dispatcher.withdraw(ticket(2).id)
    dispatcher.offer(ticket(2))
    assert drained(dispatcher) == ["1", "2"]


def test_a_paused_queue_hands_out_nothing() -> None:
    dispatcher = offered(ticket(1))
    dispatcher.paused = True
    assert drained(dispatcher) == []
    dispatcher.paused = False
    assert drained(dispatcher) == ["1"]


ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("offer"), st.integers(0, 2), st.sampled_from(["", "a", "b", "c"]), st.sampled_from([0, 0, 5])
        ),
        st.tuples(st.just("end"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.sampled_from([0.05, 0.1, 0.7, 1.0])),
        st.tuples(st.just("lose"), st.integers(0, 1)),
    ),
    max_size=60,
)
WORKERS = [(WorkerId("w0"), HERE), (WorkerId("w1"), HERE), (WorkerId("w2"), THERE)]
ROOM = 2


class World:
    """Workers, running tasks and time around one dispatcher, with every law checked at every hand-out."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.dispatcher = Dispatcher(limits)
        self.now = 100.0
        self.waiting: dict[Any, Ticket] = {}
        self.running: dict[Any, tuple[Ticket, WorkerId]] = {}
        self.begun: list[float] = []
        self.count = 0

    def offer(self, place: int, key: str, priority: int) -> None:
        self.count += 1
        made = ticket(self.count, priority, key, HERE if place else THERE)
        self.waiting[made.id] = made
        self.dispatcher.offer(made)

    def end(self, index: int) -> None:
        if self.running:
            ended = sorted(self.running)[index % len(self.running)]
            del self.running[ended]
            self.dispatcher.withdraw(ended)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def lose(self, index: int) -> None:
        """A worker dies: what ran there waits again."""
        for lost, worker in list(self.running.values()):
            if worker == WORKERS[index][0]:
                del self.running[lost.id]
                self.dispatcher.withdraw(lost.id)
                self.waiting[lost.id] = lost
                self.dispatcher.offer(lost)

    def settle(self) -> None:
        """Hand out what may be handed out."""
        while (grant := self.dispatcher.next(self.now, self._servers())) is not None:
            assert self.waiting.pop(grant.ticket.id) == grant.ticket
            assert grant.worker is not None
            self.running[grant.ticket.id] = (grant.ticket, grant.worker)
            self.begun.append(self.now)
            self._check(grant.ticket)
        assert (self.dispatcher.waiting, self.dispatcher.running) == (len(self.waiting), len(self.running))
        self._check_nothing_is_held_back()

    def _servers(self) -> list[Server]:
        used = Counter(worker for _, worker in self.running.values())
        return [Server(worker, place, ROOM - used[worker]) for worker, place in WORKERS]

    def _check(self, granted: Ticket) -> None:
        limits, places = self.limits, dict(WORKERS)
        assert not limits.concurrency or len(self.running) <= limits.concurrency
        keys = Counter(each.key for each, _ in self.running.values() if each.key)
        assert not limits.key_concurrency or max(keys.values(), default=0) <= limits.key_concurrency
        workers = Counter(worker for _, worker in self.running.values())
        assert max(workers.values()) <= min(ROOM, limits.worker_concurrency or ROOM)
        assert all(places[worker] == each.place for each, worker in self.running.values())
        if limits.rate is not None and limits.rate.count:
            for begin in self.begun:
                window = [time for time in self.begun if begin <= time < begin + limits.rate.period]
                assert len(window) <= limits.rate.count

    def _check_nothing_is_held_back(self) -> None:
        """What still waits has a reason to."""
        limits = self.limits
        if (limits.concurrency and len(self.running) >= limits.concurrency) or self.dispatcher.opens(
            self.now
        ) > self.now:
            return
        used = Counter(worker for _, worker in self.running.values())
        keys = Counter(each.key for each, _ in self.running.values())
        most = min(ROOM, limits.worker_concurrency or ROOM)
        for each in self.waiting.values():
            full_key = each.key and limits.key_concurrency and keys[each.key] >= limits.key_concurrency
            room = any(place == each.place and used[worker] < most for worker, place in WORKERS)
            assert full_key or not room


@given(LIMITS, ACTIONS)
def test_limits_hold_nothing_is_held_back_and_all_is_handed_out_in_the_end(limits: Limits, actions: Any) -> None:
    world = World(limits)
    for name, *arguments in actions:
        getattr(world, name)(*arguments)
        world.settle()
    for _ in range(4 * world.count + 4):
        if not world.waiting:
            break
        world.end(0)
        world.wait(max(world.dispatcher.opens(world.now) - world.now, 0.0))
        world.settle()
    assert not world.waiting


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([1, 7])), min_size=1, max_size=40))
def test_keys_of_equal_priority_take_turns(asked: list[tuple[str, int]]) -> None:
    tickets = [ticket(number, priority, key) for number, (key, priority) in enumerate(asked)]
    dispatcher = offered(*tickets)
    by_id = {each.id[1]: each for each in tickets}
    order = [by_id[number] for number in drained(dispatcher)]
    assert sorted(order, key=lambda each: -each.priority) == order
    for priority in (1, 7):
        served = [each.key for each in order if each.priority == priority]
        for index, key in enumerate(served):
            rest = served[index + 1 :]
            again = rest.index(key) if key in rest else len(rest)
            assert set(rest[again:]) <= {key} | set(rest[:again]) or key not in rest
        for key in set(served):
            numbers = [int(each.id[1]) for each in order if (each.key, each.priority) == (key, priority)]
            assert numbers == sorted(numbers)


@given(LIMITS, ACTIONS)
def test_a_dispatcher_that_is_told_all_again_holds_the_same_limits(limits: Limits, actions: Any) -> None:
    """After a restart: what runs is found running, what waits is offered, what began is known."""
    world = World(limits)
    for index, (name, *arguments) in enumerate(actions):
        getattr(world, name)(*arguments)
        world.settle()
        if index % 7 == 3:
            again = Dispatcher(limits)
            for running, worker in world.running.values():
                again.runs(running, worker)
            again.has_begun(world.begun)
            for each in world.waiting.values():
                again.offer(each)
            world.dispatcher = again
            world.settle()
