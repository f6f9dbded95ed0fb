"""One seed, one world: draw it, let it happen, check everything."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Any, TypeVar

from flowbook.client import AsyncClient, asks
from flowbook.client.asks import Ask
from flowbook.core import events as e
from flowbook.core.chains import number, root
from flowbook.core.evolve import fold
from flowbook.core.ids import Digest, Key, RunId
from flowbook.core.messages import SendSignal, StartRun
from flowbook.core.module import Module
from flowbook.errors import EngineUnavailable, RunClosed, StoreError, UserError
from flowbook.runtime import modules
from flowbook.store.base import decode_recorded
from flowbook.store.memory import MemoryStore
from flowbook.testing.world import Process, World
from flowbook.wire import calls, codec
from tests.simulation import sink, trees
from tests.simulation.faults import Climate, Disk, Storm, Trouble, draw_climate
from tests.simulation.invariants import (
    AT_ONCE,
    PATIENCE,
    Broken,
    check_chain,
    check_heard,
    check_history,
    check_kept,
    check_recovery,
    check_replay,
    check_time,
    check_updates,
    require,
    stored_events,
    stored_histories,
    was_left,
)

T = TypeVar("T")

_ADDRESS = re.compile(rb"0x[0-9a-f]+")

_BOOKED = re.compile(r"/[^/]+/owe\.unbook$")
"""Keys of what is owed for a plan's books; those of sagas lie deeper."""

BEGIN = 1_750_000_000.0
MODULE = Module(Digest("sink"), "sink", "from tests.simulation.sink import sink\n")


@dataclass
class Told:
    """What was acknowledged, and of how many events a chain was when it was said to have ended."""

    started: set[str] = field(default_factory=set)
    signals: dict[str, set[str]] = field(default_factory=dict)
    bumps: dict[str, set[int]] = field(default_factory=dict)
    updates: dict[str, set[str]] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    terminated: set[str] = field(default_factory=set)
    ended: list[tuple[str, int]] = field(default_factory=list)


@dataclass
class Outcome:
    """What became of a seed. ``digest`` is of all histories."""

    seed: int
    climate: Climate
    plans: list[trees.Plan]
    error: str = ""
    digest: str = ""
    trouble: list[str] = field(default_factory=list)
    histories: dict[Any, list[e.Recorded]] = field(default_factory=dict)


class Simulation:
    """The world of one seed and those who use it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.climate = draw_climate(self.random)
        self.trouble = Trouble(self.climate, self.random)
        self.store = MemoryStore()
        keep = self.random.choice((0.0, 0.0, 0.5, 2.0))
        self.world = World(
            self.random,
            BEGIN,
            Storm(self.trouble),
            disk=lambda process: Disk(self.store, process, self.trouble),
            keep=keep,
            tick=0.25 if keep else self.random.choice((0.05, 0.2)),
            grace=self.random.choice((0.5, 3.0)),
        )
        self.world.loop.patience = 1.2 * (1 + self.climate.refusals) + (keep if keep < 1 else 0)
        self.world.loop.spin_limit = 100_000
        self.world.start_delay = lambda: self.random.random() * self.climate.start_delay
        count = self.random.choice((1, 1, 1, 2, 3))
        self.plans = [trees.Drawer(self.random, f"r{number}").plan() for number in range(count)]
        self.told = Told()
        self.once = {node["n"] for plan in self.plans for node in _nodes(plan.tree) if node["do"] == "once"}
        if len(self.plans) > 1:
            self.once = set()
        sink.world = self.outside = Interrupted(self)

    # Those who use it

    async def use(self) -> None:
        """All clients; ends when everything is acknowledged."""
        async with self.world.client() as client, asyncio.TaskGroup() as tasks:
            for plan in self.plans:
                tasks.create_task(self._use(client, plan))
            tasks.create_task(self._kill(self.climate.kill_workers, self._kill_worker))
            tasks.create_task(self._kill(self.climate.kill_engines, self._kill_engine))
            tasks.create_task(self._set_clock())

    async def _use(self, client: AsyncClient, plan: trees.Plan) -> None:
        await asyncio.sleep(plan.start_at)

        async def start() -> None:
            await client.put_module(MODULE)
            await client._ask(Ask("start", self._start(plan), calls.Summary))

        await self._insist(plan, start)
        self.told.started.add(plan.run)
        async with asyncio.TaskGroup() as tasks:
            for name, values in plan.signals:
                tasks.create_task(self._signal(client, plan, name, values))
            for number, value in enumerate(plan.updates):
                tasks.create_task(self._update(client, plan, f"u{number}", value))
            for value in plan.bumps:
                tasks.create_task(self._bump(client, plan, value))
            if plan.cancel_at is not None:
                tasks.create_task(self._cancel(client, plan, plan.cancel_at))
            if plan.terminate_at is not None:
                tasks.create_task(self._terminate(client, plan, plan.terminate_at))

    def _start(self, plan: trees.Plan, **options: Any) -> StartRun:
        arguments = {
            name: codec.encode(value, None)  # type: ignore[arg-type]
            for name, value in (
                ("run", plan.run),
                ("tree", plan.tree),
                ("books", plan.books),
                ("rounds", plan.rounds),
                ("kept", plan.kept),
                ("before", []),
            )
        }
        run, place = RunId(plan.run), self.world.place
        return StartRun(run, "sink", MODULE.digest, place, arguments, timeout=plan.limit, **options)

    async def _bump(self, client: AsyncClient, plan: trees.Plan, value: int) -> None:
        """A signal for a handler, perhaps with a start that finds the run there, perhaps sent again later."""
        await asyncio.sleep(self.random.choice((0.0, 0.3, 2.0, 30.0)) * self.random.random())
        encoded, mark = codec.encode(value, None), f"bump-{value}"  # type: ignore[arg-type]
        started = self._start(plan, signals=(SendSignal("bump", encoded, mark),), on_conflict="use_existing")

        async def send() -> None:
            if value % 2:
                await client.signal(plan.run, "bump", encoded, mark)
            else:
                await client._ask(Ask("start", started, calls.Summary))

        for pause in self.random.choice(((0.0,), (0.0,), (0.0, 0.0), (0.0, 1.5), (0.0, 100.0))):
            await asyncio.sleep(pause)
            if not await self._insist(plan, send):
                return
            self.told.bumps.setdefault(plan.run, set()).add(value)

    async def _signal(self, client: AsyncClient, plan: trees.Plan, name: str, values: list[int]) -> None:
        for value in values:
            await asyncio.sleep(self.random.choice((0.0, 0.0, 0.5, 40.0, 700.0)))
            mark = f"{name}-{value}"

            async def send(mark: str = mark, value: int = value) -> None:
                await client.signal(plan.run, name, codec.encode(value, None), mark)  # type: ignore[arg-type]

            if not await self._insist(plan, send):
                return
            self.told.signals.setdefault(plan.run, set()).add(mark)

    async def _cancel(self, client: AsyncClient, plan: trees.Plan, at: float) -> None:
        await asyncio.sleep(at)

        async def cancel() -> str:
            return (await client.cancel(plan.run, "enough"))["outcome"]

        self._note_end(plan, await self._insist(plan, cancel), self.told.cancelled)

    async def _terminate(self, client: AsyncClient, plan: trees.Plan, at: float) -> None:
        await asyncio.sleep(at)
        at_once = int(at * 10) % 2 == 0
        reason = AT_ONCE if at_once else "enough"
        ask = Ask("terminate", calls.Terminate(RunId(plan.run), reason, now=at_once), calls.Outcome)

        async def terminate() -> str:
            return (await client._ask(ask))["outcome"]

        self._note_end(plan, await self._insist(plan, terminate), self.told.terminated)

    def _note_end(self, plan: trees.Plan, outcome: Any, asked: set[str]) -> None:
        if outcome in ("cancelled", "terminated", "queued"):
            asked.add(plan.run)
        else:
            self.told.ended.append((plan.run, stored_events(self.store, plan.run)))

    async def _update(self, client: AsyncClient, plan: trees.Plan, name: str, value: int) -> None:
        await asyncio.sleep(self.random.choice((0.0, 0.5, 3.0)))
        update = calls.Update(RunId(plan.run), name, "add", (codec.encode(value, None),))  # type: ignore[arg-type]
        for pause in self.random.choice(((0.0,), (0.0,), (0.0, 0.5), (0.0, 50.0))):
            await asyncio.sleep(pause)
            ask = Ask("update", update, calls.UpdateResult)
            answer: Any = await self._insist(plan, lambda ask=ask: client._ask(ask))  # type: ignore[misc]
            if not answer or (answer["status"] == "failed" and answer["error"].type == "RunClosed"):
                return
            match answer["status"], answer["value"]:
                case "completed", given:
                    told = codec.decode(given, None)  # type: ignore[arg-type]
                    require(value % 3 != 0 and told == value + 1, f"{plan.run}: update {value} gave {told}")
                case "rejected", _:
                    require(value % 3 == 0, f"{plan.run}: update {value} was rejected: {answer}")
                case _:
                    raise Broken(f"{plan.run}: update {value} ended with {answer}")
            self.told.updates.setdefault(plan.run, set()).add(name)

    async def answer(self, token: str, n: int) -> None:
        """Keep a promise some time."""
        await asyncio.sleep(self.random.random() * trees.AWAKE)
        complete = calls.Complete(token, value=codec.encode(n, None))  # type: ignore[arg-type]
        async with self.world.client() as client:
            for _ in range(10):
                # The token may be out before the promise is durable; once the run has ended nobody wants the answer.
                with suppress(UserError):
                    await self._insist(None, lambda: client._ask(Ask("complete", complete, calls.Summary)))
                    return
                await asyncio.sleep(1.0)

    async def _insist(self, plan: trees.Plan | None, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask until there is an answer; False where the run has ended."""
        while True:
            try:
                return await ask() or True
            except RunClosed:
                if plan is not None:
                    self.told.ended.append((plan.run, stored_events(self.store, plan.run)))
                return False
            except (EngineUnavailable, StoreError):
                await asyncio.sleep(0.7)

    async def _kill(self, times: tuple[float, ...], kill: Callable[[], None]) -> None:
        now = 0.0
        for at in times:
            await asyncio.sleep(at - now)
            now = at
            kill()

    async def _set_clock(self) -> None:
        now = 0.0
        for at, seconds in self.climate.jumps:
            await asyncio.sleep(at - now)
            now = at
            self.world.machine.set_back -= seconds
            self.trouble.log.append(f"the clock is set by {seconds:+g} s at {self.world.loop.now - BEGIN:.3f}")

    def _kill_worker(self) -> None:
        workers = self.world.workers
        if workers and self.trouble.losses:
            self.trouble.losses -= 1
            victim = self.random.choice(workers)
            self.trouble.log.append(f"{victim.name} is killed at {self.world.loop.now - BEGIN:.3f}")
            victim.kill()

    def _kill_engine(self) -> None:
        engine = self.world.engine
        if engine is not None and engine.alive and self.trouble.losses:
            self.trouble.losses -= 1
            self.trouble.log.append(f"the engine is killed at {self.world.loop.now - BEGIN:.3f}")
            engine.kill()

    async def look_after(self) -> None:
        """Have an engine run again, and take up what trouble has paused."""
        async with self.world.client() as client:

            async def ask() -> None:
                for run in await client.runs():
                    if run["status"] == "paused" and "(injected)" in run["reason"]:
                        await client.resume(run["id"])

            await self._insist(None, ask)

    async def see_to(self, what: Callable[[RunId, Key], Ask[calls.Summary]]) -> None:
        """Have people do something about all that ended runs owe, while engine and worker may be lost."""
        async with self.world.client() as client:
            for run in sorted(self.store.owing()):
                for key in list(fold(map(decode_recorded, self.store.history(run))).obligations):
                    # An answer that was lost is asked for again, and then somebody is at it already.
                    asked = what(run, key)
                    with suppress(UserError):
                        await self._insist(None, lambda asked=asked: client._ask(asked))  # type: ignore[misc]
            self.trouble.losses += 2
            self._kill_worker()
            self._kill_engine()
        self.trouble.losses = 0

    # The whole of it

    def happen(self) -> None:
        """Let everything happen, and check it."""
        task = self.world.run(self.use())
        if not task.done():
            raise Broken("nobody answers any more: a client waits for ever")
        task.result()
        self.world.settle(inf)
        while not self._is_left_alone():
            self.world.run(self.look_after())
            self.world.settle(inf)
        self._check_errors()
        self._check_recovery()
        for plan in self.plans:
            self._check(plan)
        self._check_all()
        self._check_debts()

    def _is_left_alone(self) -> bool:
        """True when an engine runs and none of its runs waits for people."""
        engine, host = self.world.engine, self.world.host
        assert engine is not None and host is not None
        return engine.alive and not any("(injected)" in run.state.paused for run in host.engine.runs.open.values())

    def _check_errors(self) -> None:
        errors = [error for error in self.world.loop.errors if not _is_injected(error)]
        if errors:
            raise Broken(f"an unexpected error: {''.join(traceback.format_exception(errors[0]))}")

    def _check_recovery(self) -> None:
        host = self.world.host
        assert host is not None
        check_recovery(host, self.store)
        before = self._records()
        engine = self.world.engine
        assert engine is not None
        engine.kill()
        self.trouble.refusals = 0
        self.world.run(self.look_after())
        self.world.settle(inf)
        assert self.world.host is not None and self.world.host is not host
        check_recovery(self.world.host, self.store)
        after = self._records()
        changed = [(before.get(run, [])[-1:], *after[run][len(before.get(run, [])) :]) for run in after]
        require(after == before, f"a restart when all is quiet has changed something: {changed}")

    def _records(self) -> dict[Any, list[e.Recorded]]:
        return stored_histories(self.store)

    def _check_all(self) -> None:
        """Every run, the children and the runs that followed too: sound, ended, and the same when re-executed."""
        for run, history in stored_histories(self.store).items():
            check_history(run, history)
            require(isinstance(history[-1].event, e.CLOSING), f"{run} is stuck after {history[-1]}")
            check_replay(run, history, sink.sink)
            check_replay(run, history, sink.sink, upto=self.random.randint(1, len(history)))
        for (run, n), begun in self.outside.begun.items():
            require(begun == 1 or n not in self.once, f"{run}: an at_most_once step was run {begun} times")

    def _check_debts(self) -> None:
        """What is owed at the end can be tried again, which ends, and settled by hand: then nothing is owed."""
        if not self.store.owing():
            return
        for what in (asks.retry_obligation, lambda run, key: asks.settle_obligation(run, key, "seen to")):
            self.world.run(self.see_to(what))
            self.world.settle(inf)
            self.world.run(self.look_after())
            self.world.settle(inf)
        require(not self.store.owing(), f"{self.store.owing()} owe something that was settled")
        for run, history in stored_histories(self.store).items():
            closing = next((at for at, r in enumerate(history) if isinstance(r.event, e.CLOSING)), len(history))
            rest = [recorded.event for recorded in history[closing + 1 :]]
            require(closing < len(history), f"{run} is stuck after {history[-1]}")
            require(all(isinstance(event, e.AFTERWARDS) for event in rest), f"{run} ended, and then: {rest}")

    def _check(self, plan: trees.Plan) -> None:
        histories = stored_histories(self.store)
        chain = [history for run, history in histories.items() if root(run) == plan.run]
        require(bool(chain), f"{plan.run}: it was started and has no history")
        chain.sort(key=lambda history: number(history[0].event.run))  # type: ignore[union-attr]
        for history in chain[:-1]:
            require(isinstance(history[-1].event, e.RunContinued), f"{history[-1]} has a run after it")
        events = [recorded.event for history in chain for recorded in history]
        ending = chain[-1][-1].event
        received = {event.id for event in events if isinstance(event, e.SignalReceived)}
        lost = self.told.signals.get(plan.run, set()) - received
        require(not lost, f"{plan.run}: acknowledged signals {lost} are not in the history")
        sent: dict[str, list[int]] = {}
        for event in events:
            if isinstance(event, e.SignalReceived):
                sent.setdefault(event.name, []).append(codec.decode(event.value, None))  # type: ignore[arg-type]
        check_chain(plan.run, chain, self.told.cancelled, self.told.terminated, self.told.ended)
        check_updates(plan.run, chain, self.told.updates.get(plan.run, set()))
        # While no engine is there, nobody looks at a clock; where it is set forward, that time has passed at once.
        forward = sum(seconds for _, seconds in self.climate.jumps if seconds > 0)
        check_time(plan.run, chain, plan.limit, inf if self.climate.losses else PATIENCE + forward)
        if plan.kept:
            check_kept(f"{plan.run}.kept", histories, chain)
        self._check_end(plan, chain, ending, sent)
        self._check_books(plan, ending, _kept(chain[-1]))

    def _check_end(
        self, plan: trees.Plan, chain: list[list[e.Recorded]], ending: e.AnyEvent, sent: dict[str, list[int]]
    ) -> None:
        asked = any(isinstance(r.event, e.CancelRequested) for history in chain for r in history)
        match ending:
            case e.RunCompleted():
                require(not trees.fails(plan.tree), f"{plan.run} completed; it was to fail")
                rounds, heard = codec.decode(ending.value, None)  # type: ignore[arg-type]
                calm = self.climate.calm and plan.cancel_at is None and not plan.limit
                require(len(rounds) == plan.rounds + 1, f"{plan.run} gave {rounds} after {plan.rounds} rounds more")
                for left, one in zip(range(plan.rounds, -1, -1), rounds, strict=True):
                    name = f"{plan.run}~{left}" if plan.rounds else plan.run
                    got = {name: sent.get(name, []) for name, _ in plan.signals}
                    facts = trees.Facts(got, self._undone(name), self.trouble.stalled)
                    require(trees.fits(plan.tree, one, calm, facts), f"{plan.run} gave {one} for {plan.tree}")
                check_heard(plan.run, heard, self.told.bumps.get(plan.run, set()), chain[-1])
            case e.RunFailed() if ending.failure.type == "TimeoutError":
                require(plan.limit > 0, f"{plan.run} had no time that could be up: {ending}")
            case e.RunFailed() if ending.failure.type == "CancelledError" and trees.mistakes_its_limit(plan.tree):
                pass
            case e.RunFailed() if ending.failure.message.startswith("continue_as_new() inside"):
                # Refused, as it would take back what a task does that nobody waits for.
                require(plan.rounds > 0 and trees.leaves_something(plan.tree), f"{plan.run} was refused: {ending}")
            case e.RunFailed():
                why = f"{plan.run} failed: {ending.failure.type}: {ending.failure.message}\n{ending.failure.text}"
                require(trees.fails(plan.tree) and ending.failure.type == "Boom", why)
            case e.RunCancelled():
                require(asked, f"{plan.run} was cancelled and nobody asked for it")
            case e.RunTerminated():
                require(plan.terminate_at is not None, f"{plan.run} was terminated and nobody asked for it")
            case _:
                raise Broken(f"{plan.run} ended with {ending}")

    def _undone(self, run: str) -> Callable[[int], int]:
        """How often a node was taken back, in the run or in a child of it: nodes have their numbers to themselves."""
        return lambda n: sum(
            count for (name, m), count in self.outside.done.items() if m == -n and (name + ".").startswith(run + ".")
        )

    def _check_books(self, plan: trees.Plan, ending: e.AnyEvent, kept: bool) -> None:
        names = [plan.run] if not plan.rounds else [f"{plan.run}~{left}" for left in range(plan.rounds + 1)]
        for n in plan.books:
            done = sum(self.outside.done[name, n] for name in names)
            undone = sum(self.outside.done[name, -n] for name in names)
            if isinstance(ending, e.RunCompleted):
                require(done >= 1 and not undone, f"{plan.run}: booking {n} was done {done}, undone {undone} times")
            elif done and not plan.rounds and not kept and not was_left(ending):
                require(undone >= 1, f"{plan.run} ended with {type(ending).__name__}: booking {n} was not undone")
            if self.climate.calm:
                twice = [name for name in names if self.outside.begun[name, n] > 1]
                require(not twice, f"{twice}: step {n} was run more than once in a calm world")

    def close(self) -> None:
        self.world.close()
        sink.world = sink.Outside()


class Interrupted(sink.Outside):
    """The outside world of a simulation, where a worker may die in the middle of a step."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self.simulation = simulation

    def promise(self, token: str, n: int) -> None:
        simulation = self.simulation
        simulation.world.begin(simulation.answer(token, n))

    def interrupt(self) -> None:
        trouble, process = self.simulation.trouble, here()
        if process is not None and not process.alive:
            raise asyncio.CancelledError("this process was killed")
        if process is not None and trouble.loses(self.simulation.climate.die_in_step, f"{process.name} dies in a step"):
            process.kill()
            raise asyncio.CancelledError("this process was killed")


def _kept(history: list[e.Recorded]) -> bool:
    """True where the run has decided that what it booked stays: it waited for its handlers only."""
    settled = [r.event for r in history if isinstance(r.event, e.ObligationSettled)]
    return any(event.outcome == "kept" and _BOOKED.match(event.key) for event in settled)


def _nodes(tree: trees.Node) -> Iterator[trees.Node]:
    yield tree
    for inner in tree.get("of", ()):
        yield from _nodes(inner)


def _is_injected(error: BaseException) -> bool:
    """True for what was done on purpose: an engine that cannot read its disk ends, and is started again."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_injected, error.exceptions))
    return isinstance(error, asyncio.CancelledError) or "(injected)" in str(error)


def here() -> Process | None:
    from flowbook.testing import world

    return world._here.get(None)


def simulate(seed: int) -> Outcome:
    """Everything about one seed."""
    simulation = Simulation(seed)
    modules.withdraw(MODULE.digest)
    if simulation.random.random() < 0.9:
        # In the others the worker has to ask for it.
        modules.load(MODULE)
    outcome = Outcome(seed, simulation.climate, simulation.plans)
    try:
        simulation.happen()
    except Broken as error:
        outcome.error = str(error)
    except Exception as error:
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        outcome.error = f"{type(cause).__name__}: {cause}\n" + "".join(traceback.format_exception(error))
    outcome.trouble = simulation.trouble.log
    outcome.histories = stored_histories(simulation.store)
    hashed = hashlib.blake2b(digest_size=8)
    for run in outcome.histories:
        # Where objects lie in memory is shown in the locals of a failure.
        hashed.update(_ADDRESS.sub(b"", b"".join(simulation.store.history(run))))
    outcome.digest = hashed.hexdigest()
    simulation.close()
    return outcome


def broken_among(seeds: range) -> list[tuple[int, str]]:
    """The seeds whose worlds break an invariant, and which."""
    logging.disable(logging.ERROR)
    try:
        return [(outcome.seed, outcome.error) for outcome in map(simulate, seeds) if outcome.error]
    finally:
        logging.disable(logging.NOTSET)


def reproduce(seed: int) -> str:
    """The command that shows a seed in full."""
    return f"make simulate SEED={seed}"
