"""What cannot work is said at once: what it is, where, and what to write instead. Nothing of it hangs."""

from __future__ import annotations

import asyncio
import copy
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import flowbook
from flowbook import (
    RetryPolicy,
    awakeable,
    continue_as_new,
    get_run,
    now,
    operation,
    query,
    saga,
    signal,
    sleep,
    step,
    update,
    workflow,
)
from flowbook.errors import FlowbookError, NotDeterministic, RunFailed, UserError
from flowbook.runtime.elsewhere import other_run
from flowbook.testing import TestEngine

Body = Callable[[], Coroutine[Any, Any, Any]]


@step
def load(what: Any) -> Any:
    return what


@workflow
async def kid(number: int = 1) -> int:
    return number


@step
def starts_a_child() -> None:
    kid.start_child(1)


@step
async def waits_for_a_signal() -> None:
    await signal("go")


# In workflow code: the run fails with it, on the line.


async def call_awaited_twice() -> Any:
    call = load(1)
    await call
    return await call


async def signal_without_text() -> Any:
    return await signal(5)  # type: ignore[arg-type]


async def signal_without_name() -> Any:
    return await signal("")


async def handle_of_signal_without_name() -> None:
    signal.start("")


async def step_on_a_signal_without_name() -> None:
    load.on_signal("").start()


async def signal_for_a_wrong_time() -> Any:
    return await signal("go", timeout="soon")


async def sleep_backwards() -> None:
    await sleep(-1)


async def step_with_too_much() -> Any:
    return await load(1, 2)  # type: ignore[call-arg]


async def child_with_another_name() -> Any:
    return await kid.start(size=1)  # type: ignore[call-overload]


async def child_with_another_type() -> Any:
    return await kid.start("a")  # type: ignore[call-overload]


async def child_from_a_step() -> None:
    await starts_a_child()


async def signal_in_a_step() -> None:
    await waits_for_a_signal()


async def child_of_a_function() -> Any:
    @workflow
    async def inner() -> None: ...

    return await inner.start()


async def workflow_run_inside() -> Any:
    return kid.run(1)


async def map_of_a_number() -> Any:
    return await load.map(5)  # type: ignore[arg-type]


async def handle_as_a_result() -> Any:
    return load.start(1)


async def call_as_an_argument() -> Any:
    call = load(1)
    try:
        return await load(call)
    finally:
        call.close()


async def unpacked_handle() -> Any:
    first, second = load.start(1)  # type: ignore[attr-defined]
    return first, second


async def wrong_loop() -> Any:
    other = asyncio.Future[Any](loop=asyncio.SelectorEventLoop())
    try:
        return await other
    finally:
        other.get_loop().close()


async def loop_in_a_loop() -> Any:
    flow = kid(1)
    try:
        return asyncio.run(flow)
    finally:
        flow.close()


async def status_of_another_run() -> Any:
    return get_run("other").status


async def all_runs() -> Any:
    return flowbook.runs()


async def table() -> Any:
    return flowbook.sql("select 1")


async def operation_of_a_number() -> Any:
    return await operation(5)  # type: ignore[call-overload]


async def saga_of_a_number() -> Any:
    async with saga() as undoing:
        return await undoing.do(5)  # type: ignore[call-overload]


async def too_much_to_go_on_with() -> Any:
    continue_as_new(1)


async def awaited_number() -> Any:
    return await 5  # type: ignore[misc]


INSIDE: list[tuple[Body, str]] = [
    (call_awaited_twice, "RuntimeError: cannot reuse already awaited coroutine"),
    (signal_without_text, "the name of a signal has to be text, not int"),
    (signal_without_name, "the name of a signal has to be text, and is empty"),
    (handle_of_signal_without_name, "the name of a signal has to be text, and is empty"),
    (step_on_a_signal_without_name, "the name of a signal has to be text, and is empty"),
    (signal_for_a_wrong_time, "'soon' is not a duration"),
    (sleep_backwards, "a duration cannot be -1; write seconds"),
    (step_with_too_much, r"in step 'load': TypeError: load\(\) takes 1 positional argument but 2 were given"),
    (child_with_another_name, r"kid.start\(\): got an unexpected keyword argument 'size'; it is kid\(number"),
    (child_with_another_type, "in step 'kid': UserError: kid: 'number' must be int, not str 'a'"),
    (child_from_a_step, r"in step 'starts_a_child': .*kid.start_child\(\) works only inside a workflow"),
    (signal_in_a_step, r"in step 'waits_for_a_signal': .*signal\(\) works only inside a workflow"),
    (child_of_a_function, "workflow 'inner' is defined inside of a function, .*: define it at the top of its module"),
    (workflow_run_inside, r"write 'await kid\(...\)' to have it as a part of this run"),
    (map_of_a_number, r"load.map\(\) takes items, a list for example, not int"),
    (handle_as_a_result, "'result of misused' is no value yet but a StepHandle: write 'await' in front of it"),
    (call_as_an_argument, "'what of load' is no value yet but a coroutine: write 'await' in front of it"),
    (unpacked_handle, r"load gives one value; to unpack it, name its outputs: @step\(outputs="),
    (wrong_loop, "RuntimeError: .* attached to a different loop"),
    (loop_in_a_loop, r"asyncio.run\(\) cannot be called from a running event loop"),
    (status_of_another_run, "can be signalled and cancelled; 'status' of run 'other' .* so have a step ask for it"),
    (all_runs, "workflow code asks the engine nothing about runs, .* Have a step ask"),
    (table, "workflow code asks the engine nothing about runs, .* Have a step ask"),
    (operation_of_a_number, r"operation\(\) takes steps, not int"),
    (saga_of_a_number, "a saga takes steps, not int"),
    (too_much_to_go_on_with, r"continue_as_new\(\): too many positional arguments; misused is misused\(\)"),
    (awaited_number, "object int can't be used in 'await' expression|'int' object can't be awaited"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("body", "says"), INSIDE, ids=[body.__name__ for body, _ in INSIDE])
async def test_workflow_code_that_cannot_work_fails_with_what_to_write(env: TestEngine, body: Body, says: str) -> None:
    @functools.wraps(body)
    async def misused() -> Any:
        return await body()

    misused.__name__ = "misused"
    async with env:
        run = await env.start(workflow(misused))
        with pytest.raises(RunFailed, match=says):
            await run.result()


# What looks like a misuse, and works.


@workflow
async def handle_awaited_twice() -> list[Any]:
    handle = load.start(1)
    return [await handle, await handle]


@workflow
async def called_in_a_workflow() -> int:
    return await kid(2)


@workflow
async def step_in_a_function() -> Any:
    @step
    def inner() -> int:
        return 3

    return await inner()


@workflow
async def step_with_a_given_name() -> Any:
    return await step(name="double")(lambda number: number * 2)(4)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("flow", "result"),
    [(handle_awaited_twice, [1, 1]), (called_in_a_workflow, 2), (step_in_a_function, 3), (step_with_a_given_name, 8)],
)
async def test_workflow_code_that_may_look_wrong(env: TestEngine, flow: Any, result: Any) -> None:
    async with env:
        assert await (await env.start(flow)).result() == result


def test_outside_of_a_workflow_steps_and_workflows_are_plain_functions() -> None:
    assert load(1) == 1 and asyncio.run(kid(2)) == 2  # type: ignore[comparison-overlap]
    assert asyncio.run(operation(load, 1)) == 1 and now().tzinfo is not None


def test_another_run_can_be_copied_like_any_value() -> None:
    assert copy.copy(other_run("other")).id == "other" and not hasattr(other_run("other"), "status")


# Outside, and at the decorators: raised where it is written.


async def answers() -> Any:
    yield 1


def gives_many() -> Any:
    yield 1


def plain() -> None: ...


OUTSIDE: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "start with another name": (lambda: kid.start(size=1), UserError, r"it is kid\(number"),
    "start with too much": (lambda: kid.start(1, 2), UserError, "too many positional arguments; it is kid"),
    "start with another type": (lambda: kid.start("a"), UserError, r"kid.start\(\): 'number' must be int, not str 'a'"),
    "start with a number as id": (lambda: kid.start(1, id=5), UserError, "it has to be text, not int"),
    "start for a wrong time": (lambda: kid.start(1, timeout="soon"), UserError, "'soon' is not a duration"),
    "start as if it were a child": (lambda: kid.start(1, parent_close="abandon"), UserError, "this run has none"),
    "unknown option": (lambda: kid.options(size=1), TypeError, "unexpected keyword argument 'size'"),
    "child": (lambda: kid.start_child(1), NotDeterministic, r"kid.start_child\(\) works only inside a workflow"),
    "step as a handle": (lambda: load.start(1), NotDeterministic, r"load.start\(\) works only inside a workflow"),
    "signal": (lambda: asyncio.run(signal("go")), NotDeterministic, r"signal\(\) works only inside a workflow"),
    "promise": (awakeable, NotDeterministic, r"awakeable\(\) works only inside a workflow"),
    "going on": (lambda: continue_as_new(), NotDeterministic, r"continue_as_new\(\) works only inside a workflow"),
    "run without an id": (lambda: get_run(5), UserError, "a run's id has to be text, not int"),
    "query of a table that is no text": (lambda: flowbook.sql(5), UserError, "a query has to be text, not int"),
    "token that is no text": (lambda: flowbook.complete(5), UserError, "a token has to be text, not int"),
    "failure that is no text": (lambda: flowbook.fail("x", 5), UserError, "the message of a failure has to be text"),
    "run of a number": (lambda: flowbook.run(5), UserError, "takes a notebook, a Python file or a workflow, not int"),
    "step of a lambda": (lambda: step(lambda: 1), UserError, r"no name of its own: write a def, or @step\(name="),
    "step of a generator": (lambda: step(gives_many), UserError, "step 'gives_many' has a yield, .* return a list"),
    "step of an async generator": (lambda: step(answers), UserError, "step 'answers' has a yield, .* return a list"),
    "step of a class": (lambda: step(RetryPolicy), UserError, "RetryPolicy is a class: write a function"),
    "step of a name": (lambda: step("load"), UserError, r"to give it another name, write @step\(name='load'\)"),
    "step of a step": (lambda: step(load), UserError, "@step stands above <step load>, which is called as it is"),
    "step of a workflow": (lambda: step(kid), UserError, "@step stands above <workflow kid>, which is called as it is"),
    "step with a number as name": (lambda: step(name=5)(plain), UserError, "the name of @step has to be text, not int"),
    "step with a word as retry": (lambda: step(retry="3")(plain), UserError, "retry='3' does not say how often"),
    "step with a word as outputs": (lambda: step(outputs="a")(plain), UserError, r'write outputs=\("a",\)'),
    "workflow of a plain function": (lambda: workflow(plain), UserError, "write 'async def plain"),
    "workflow of an async generator": (lambda: workflow(answers), UserError, "'answers' has a yield: return"),
    "workflow of a lambda": (lambda: workflow(lambda: 1), UserError, "no name of its own: write a def"),
    "workflow of a name": (lambda: workflow("kid"), UserError, r"write @workflow\(name='kid'\)"),
    "query of a number": (lambda: query(5), UserError, "@query stands above a function"),
    "update of a number": (lambda: update(5), UserError, "@update stands above a function"),
}


@pytest.mark.parametrize(("misuse", "kind", "says"), OUTSIDE.values(), ids=list(OUTSIDE))
def test_what_makes_no_sense_is_said_where_it_is_written(
    misuse: Callable[[], Any], kind: type[Exception], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowbook.client.Client._ask", _nothing_is_sent)
    with pytest.raises(kind, match=says):
        misuse()


def _nothing_is_sent(*_: Any) -> None:
    raise AssertionError("an engine is asked")


def test_a_workflow_of_a_function_cannot_be_a_run() -> None:
    @workflow
    async def inner() -> None: ...

    with pytest.raises(FlowbookError, match=r"workflow 'inner' is defined inside of a function, .* at the top of its"):
        inner.start()
