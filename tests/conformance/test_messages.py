"""Signals, updates and queries."""

from __future__ import annotations

from typing import Any

import pytest

from flowbook import on_signal
from flowbook.core import events as e
from flowbook.core.ids import RunId
from flowbook.errors import (
    FlowbookError,
    RunClosed,
    RunFailed,
    UnknownRun,
    UpdateFailed,
    UpdateRejected,
    UserError,
)
from flowbook.testing import TestEngine, TestRun
from flowbook.wire import calls
from tests.conformance import workflows as w
from tests.conformance.outside import outside

pytestmark = pytest.mark.anyio


def sent(env: TestEngine, run: TestRun, name: str, *args: Any) -> calls.Update:
    """An update that nobody waits for."""
    return calls.Update(RunId(run.id), "u", name, tuple(env._encode(value, name) for value in args), {}, False)


async def test_signals_arrive_in_order(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.collect, 3)
        for number in range(3):
            await run.signal("item", number)
        assert await run.result() == [0, 1, 2]


async def test_signals_wait_for_their_receiver(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.two_names)
        await run.signal("a", 1)
        await run.signal("b", 2)
        assert await run.result() == [1, 2]


async def test_a_signal_that_was_there_before_its_receiver_is_no_wait(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.late_collect, 2)
        await run.signal("item", 1)
        await env.sleep("1m")
        assert run.status == "waiting" and [wait["name"] for wait in run._summary()["waits"]] == ["item"]
        awaited = [recorded for recorded in run.history if isinstance(recorded.event, e.SignalAwaited)]
        assert len(awaited) == 2
        await run.signal("item", 2)
        assert await run.result() == [1, 2]


async def test_a_signal_handler_is_called_for_each(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.handled)
        for value in "xyz":
            await run.signal("item", value)
        await run.signal("stop")
        assert await run.result() == ["x", "y", "z"]


async def test_a_signal_with_the_start_is_there_first(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.collect, 1, signal=("item", "early"))
        assert await run.result() == ["early"]


async def test_a_signal_and_a_timer_of_the_same_wait(env: TestEngine) -> None:
    async with env:
        late = await env.start(w.signal_or_time)
        assert await late.result() == "too late"
        early = await env.start(w.signal_or_time, id="early")
        await early.signal("go", "in time")
        assert await early.result() == "in time"


async def test_a_workflow_signals_another(env: TestEngine) -> None:
    async with env:
        other = await env.start(w.collect, 1, id="other")
        sender = await env.start(w.send_to, "other", "item", 7)
        assert (await sender.result(), await other.result()) == ("sent", [7])


async def test_a_signal_to_a_run_that_is_not_there_is_an_error_in_the_workflow(env: TestEngine) -> None:
    async with env:
        sender = await env.start(w.send_to, "nobody", "item", 7)
        assert await sender.result() == "refused: UnknownRun"


async def test_a_repeated_signal_is_one(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.collect, 2)
        await run.signal("item", 1, id="same")
        await run.signal("item", 1, id="same")
        await run.signal("item", 2)
        assert await run.result() == [1, 2]


async def test_a_signal_to_a_closed_or_unknown_run_is_refused(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.collect, 0)
        await run.result()
        with pytest.raises(RunClosed):
            await run.signal("item", 1)
        with pytest.raises(UnknownRun):
            await env.run("nobody").signal("item", 1)


async def test_a_signal_handler_that_raises_fails_the_run(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.listens)
        await run.signal("item", 1)
        await run.signal("item", "boom")
        await run.signal("item", 2)
        with pytest.raises(RunFailed, match="ValueError: boom in the handler"):
            await run.result()
        assert outside.said == ["cleaned up"]


@pytest.mark.parametrize("end", ["stays", "returns"])
async def test_it_fails_whatever_the_workflow_makes_of_it(env: TestEngine, end: str) -> None:
    async with env:
        begun = env.now()
        run = await env.start(w.listens, end)
        await run.signal("item", "boom")
        with pytest.raises(RunFailed, match="ValueError: boom in the handler"):
            await run.result()
        assert (env.now() - begun).total_seconds() < 3601


async def test_handlers_finish_where_the_workflow_waits_for_them(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.listens, "finishes")
        for value in (1, 2, 3):
            await run.signal("item", value)
        run._ask("update", sent(env, run, "slowly", "u", 25.0))
        await run.signal("stop")
        assert await run.result() == [1, 2, "u", 3]
        assert await run.update("slowly", "u", 25.0, id="u") == "u"


async def test_handlers_at_work_are_cancelled_where_it_does_not(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.listens)
        await run.signal("item", 1)
        run._ask("update", sent(env, run, "slowly", "u", 25.0))
        await run.signal("stop")
        assert await run.result() == []
        with pytest.raises(UpdateFailed, match="the run ended before the update was handled"):
            await run.update("slowly", "u", 25.0, id="u")


async def test_a_later_handler_takes_the_place_of_an_earlier_one(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.listens_anew)
        await run.signal("item", "a")
        await run.signal("next")
        for value in "bc":
            await run.signal("item", value)
        await run.signal("stop")
        assert await run.result() == ["first a", "second b", "second c"]


def test_a_signal_handler_has_a_name() -> None:
    with pytest.raises(UserError, match="takes the name of the signal"):
        on_signal(lambda value: None)  # type: ignore[arg-type]


# Updates


async def test_an_update_gives_what_its_handler_returns(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.cart)
        assert [await run.update("add", name) for name in ("apple", "pear")] == [1, 2]
        assert await run.update("clear") == 2
        await run.signal("checkout")
        assert await run.result() == []
        assert outside.said == ["add apple", "add pear"]


async def test_a_rejected_update_changes_nothing(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.cart, 1)
        await run.update("add", "apple")
        with pytest.raises(UpdateRejected, match="the cart is full"):
            await run.update("add", "pear")
        assert await run.query("contents") == ["apple"] and outside.said == ["add apple"]


async def test_a_validator_may_be_async_and_may_not_wait(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.validated)
        assert await run.update("add", "good") == 1
        with pytest.raises(UpdateRejected, match="no such item"):
            await run.update("add", "bad")
        with pytest.raises(UpdateRejected, match="the validator of update 'add' may only look"):
            await run.update("add", "wait")
        await run.signal("stop")
        assert await run.result() == ["good"]


async def test_the_same_update_is_handled_once(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.cart)
        assert [await run.update("add", "apple", id="u") for _ in range(3)] == [1, 1, 1]
        assert outside.said == ["add apple"]


async def test_a_handler_that_raises_fails_the_update_and_not_the_run(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.cart)
        with pytest.raises(UpdateFailed, match="no"):
            await run.update("bad")
        assert await run.update("add", "apple") == 1


async def test_an_update_waits_for_its_handler(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.late_handler)
        assert await run.update("greet", "Ada") == "hello Ada"


async def test_an_update_survives_the_loss_of_its_worker(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.cart)
        await run.update("add", "apple")
        await env.restart_worker()
        assert await run.update("add", "pear") == 2
        assert outside.said == ["add apple", "add pear"]


async def test_an_update_nobody_handles_fails_when_the_run_ends(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.collect, 0)
        await run.result()
        with pytest.raises(RunClosed):
            await run.update("add", "apple")


# Queries


async def test_a_query_reads_the_variables_of_a_live_run(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.cart)
        await run.update("add", "apple")
        seq = len(run.history)
        assert await run.query("contents") == ["apple"]
        assert await run.query("at", 0) == "apple"
        assert len(run.history) == seq


async def test_a_query_of_a_closed_run(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.cart)
        await run.update("add", "apple")
        await run.signal("checkout")
        await run.result()
        assert await run.query("contents") == ["apple"]


@pytest.mark.parametrize(
    ("name", "args", "what"),
    [("nothing", (), "contents"), ("at", (), "index"), ("at", (99,), "IndexError"), ("wrong", (), "query")],
    ids=["unknown", "wrong arguments", "raises", "does something"],
)
async def test_a_query_that_cannot_be_answered_says_why(
    env: TestEngine, name: str, args: tuple[object, ...], what: str
) -> None:
    async with env:
        run = await env.start(w.cart)
        with pytest.raises(FlowbookError, match=what):
            await run.query(name, *args)
        assert run.status == "waiting"


# Going on as a new run


async def test_signals_nobody_has_read_are_carried_over(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.counter, 5, [])
        for number in range(5):
            await run.signal("item", number)
        assert await run.result() == [0, 1, 2, 3, 4]
        last = env.run(f"{run.id}~5")
        assert last.status == "succeeded"
        first = run.history
        assert isinstance(first[-1].event, e.RunContinued)


async def test_an_update_in_flight_is_finished_before_the_run_goes_on(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.with_update_in_flight, 1)
        await run.signal("next")
        assert await run.update("slowly", "there") == "there"
        await run.signal("next")
        assert await run.result() == 0


async def test_a_signal_being_handled_is_finished_before_the_run_goes_on(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.listens_for_rounds, 2, [])
        for value in range(4):
            await run.signal("item", value)
        await run.signal("next")
        assert run.status == "waiting"
        await env.sleep("11s")
        assert run.status == "continued"
        await run.signal("next")
        await run.signal("next")
        assert await run.result() == [0, 1, 2, 3]


@pytest.mark.parametrize("where", ["gather", "group", "groups", "body", "anyio", "two"])
async def test_a_run_goes_on_from_wherever_its_code_says_so(env: TestEngine, where: str) -> None:
    async with env:
        run = await env.start(w.goes_on_in, where)
        assert await run.result() == "went on"
        assert isinstance(run.history[-1].event, e.RunContinued)
        assert outside.said == ([] if where == "two" else ["cleaned up"])


async def test_a_handler_does_not_end_the_workflow(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.goes_on_in, "nowhere")
        with pytest.raises(UpdateFailed, match="cannot be called in the handler of update 'go'"):
            await run.update("go")
        with pytest.raises(UpdateFailed, match="would wait for itself"):
            await run.update("wait_for_all")
        await run.signal("stop")
        assert await run.result() == "stayed"
        other = await env.start(w.goes_on_in, "nowhere", id="other")
        await other.signal("go")
        with pytest.raises(RunFailed, match="cannot be called in the handler of signal 'go'"):
            await other.result()


async def test_a_run_does_not_go_on_with_what_does_not_fit(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.goes_on_in, "wrong")
        with pytest.raises(RunFailed, match="'rounds' must be int, not str 'none'"):
            await run.result()


async def test_an_update_and_a_signal_are_handled_once_in_a_chain(env: TestEngine) -> None:
    async with env:
        run = await env.start(w.counts, 1)
        assert await run.update("count", id="u") == 1
        await run.signal("item", "a", id="s")
        await run.signal("next")
        assert run.status == "continued"
        assert await run.update("count", id="u") == 1
        await run.signal("item", "a", id="s")
        await run.signal("next")
        assert await run.result() == [1, "a"]
        assert await run.update("count", id="u") == 1


async def going_on(env: TestEngine, workflow: Any, *args: Any, seconds: float = 3600.0) -> TestRun:
    """A run that would go on as a new one if it had not to finish an update first."""
    run = await env.start(workflow, *args)
    run._ask("update", sent(env, run, "slowly", "x", seconds))
    await run.signal("next")
    assert run.status == "waiting"
    return run


async def test_a_cancel_that_comes_too_late_for_the_code_is_heard_by_the_run_it_goes_on_as(env: TestEngine) -> None:
    async with env:
        run = await going_on(env, w.goes_on_with, "the vm")
        assert await run.cancel("enough") == "queued"
        assert await run.wait() == "cancelled" and outside.said == ["cleaned up the vm"]
        assert run.status == "continued"
        last = env.run(f"{run.id}~2").history
        assert [type(recorded.event).__name__ for recorded in last[:2]] == ["RunStarted", "CancelRequested"]
        assert isinstance(last[-1].event, e.RunCancelled) and last[-1].event.reason == "enough"
        assert await run.cancel() == "already done"


async def test_a_cancel_ends_a_chain_whose_code_waits_for_nothing(env: TestEngine) -> None:
    async with env:
        run = await going_on(env, w.never_waits)
        assert await run.cancel("enough") == "queued"
        assert await run.wait() == "cancelled"


async def test_a_terminated_run_does_not_go_on(env: TestEngine) -> None:
    async with env:
        run = await going_on(env, w.owes_and_goes_on)
        assert await run.terminate() == "queued"
        assert await run.wait() == "terminated" and outside.said == ["x", "unx"]
        with pytest.raises(UnknownRun):
            _ = env.run(f"{run.id}~2").status
