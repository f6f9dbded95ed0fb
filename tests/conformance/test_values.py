"""What is sent to a run has the types its handlers say, or is refused; what cannot be loaded is named."""

from __future__ import annotations

import datetime
import enum
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pydantic
import pytest

from flowbook import awakeable, on_signal, query, signal, step, step_context, update, workflow
from flowbook.core.events import RunOutput
from flowbook.errors import FlowbookError, RunFailed, UnloadableValue, UpdateRejected, UserError
from flowbook.testing import TestEngine, TestRun
from flowbook.wire.calls import HANDLERS
from tests.conformance.outside import outside

pytestmark = pytest.mark.anyio


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Item:
    name: str
    count: int = 1


class Price(pydantic.BaseModel):
    amount: float
    currency: str = "EUR"


@dataclass
class Bought:
    items: list[Item] = field(default_factory=list)
    day: datetime.date | None = None


@workflow
async def shop() -> Bought:
    bought = Bought()

    @update
    async def buy(item: Item, day: datetime.date | None = None) -> Item:
        bought.items.append(item)
        bought.day = day
        return Item(item.name, len(bought.items))

    @buy.validator
    def _(item: Item, day: datetime.date | None = None) -> None:
        if item.count < 1:
            raise ValueError("how many?")

    @update(name="price-of")
    def price_of(price: Price) -> Price:
        return Price(amount=price.amount * 2)

    @update
    def many(*items: Item, **colours: Colour) -> list[Any]:
        return [[item.name for item in items], sorted(colours.items())]

    @query(name="how-many")
    def how_many(item: Item) -> int:
        return sum(each.name == item.name for each in bought.items)

    @on_signal("give")
    def give(item: Item) -> None:
        bought.items.append(item)

    await signal("pay")
    return bought


async def test_an_update_gets_and_gives_what_its_annotations_say(env: TestEngine) -> None:
    async with env:
        run = await env.start(shop)
        assert await run.update("buy", {"name": "nut"}, day="2026-11-23") == Item("nut", 1)
        assert await run.update("buy", Item("bolt", 2)) == Item("bolt", 2)
        assert await run.update("price-of", {"amount": 3}) == Price(amount=6.0)
        assert await run.update("price-of", Price(amount=1.5)) == Price(amount=3.0)
        assert await run.update("many", {"name": "a"}, {"name": "b"}, c="red") == [["a", "b"], [("c", Colour.RED)]]
        await run.signal("pay")
        assert await run.result() == Bought([Item("nut"), Item("bolt", 2)], None)


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("buy", {"item": {"name": 3}}, "update buy: 'item' must be Item, not dict {'name': 3}.*Expected `str`"),
        ("buy", {"item": {"name": "nut"}, "day": "soon"}, "update buy: 'day' must be"),
        ("buy", {"item": {"name": "nut", "count": 0}}, "ValueError: how many?"),
        ("buy", {}, r"update buy: missing a required argument: 'item'; it is buy\(item"),
        ("price-of", {"price": {"amount": "much"}}, "update price-of: 'price' must be Price"),
        ("many", {"c": "blue"}, "update many: 'c' must be Colour"),
    ],
)
async def test_an_update_that_does_not_fit_is_rejected(
    env: TestEngine, name: str, given: dict[str, Any], says: str
) -> None:
    async with env:
        run = await env.start(shop)
        with pytest.raises(UpdateRejected, match=says):
            await run.update(name, **given)
        await run.signal("pay")
        assert await run.result() == Bought()


async def test_a_query_gets_what_its_annotations_say(env: TestEngine) -> None:
    async with env:
        run = await env.start(shop)
        await run.update("buy", Item("nut"))
        assert await run.query("how-many", {"name": "nut"}) == await run.query("how-many", item=Item("nut")) == 1
        with pytest.raises(UserError, match="query how-many: 'item' must be Item, not int 3"):
            await run.query("how-many", 3)
        with pytest.raises(UserError, match="it answers: how-many"):
            await run.query("how_many", 3)


async def test_a_signal_handler_gets_what_its_annotations_say(env: TestEngine) -> None:
    async with env:
        run = await env.start(shop)
        await run.signal("give", {"name": "nut"})
        await run.signal("pay")
        assert await run.result() == Bought([Item("nut")])


async def test_a_signal_that_does_not_fit_its_handler_is_refused_in_the_log(env: TestEngine) -> None:
    async with env:
        run = await env.start(shop)
        await run.signal("give", "a nut")
        await run.signal("give", {"name": "bolt"})
        await run.signal("pay")
        assert await run.result() == Bought([Item("bolt")])
        (said,) = logged(run)
        assert said.startswith("not handled: signal 'give': 'item' must be Item, not str 'a nut'")


def logged(run: TestRun[Any]) -> list[str]:
    """What the run's log says."""
    shown = [recorded.event.output for recorded in run.history if isinstance(recorded.event, RunOutput)]
    return [chunk.text for output in shown for chunk in output if chunk.stream == "log"]


class Local:
    """What the code of the run cannot load."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return refuse, ()


def refuse() -> None:
    raise LookupError("no such thing here")


@workflow
async def careful() -> str:
    try:
        await signal("go")
    except UnloadableValue as error:
        outside.say(str(error))
    return str(await signal("go"))


@workflow
async def careless() -> None:
    await signal("go")


@workflow
async def listening() -> None:
    @on_signal("go")
    def go(value: Any) -> None:
        outside.say(value)

    await signal("stop")


@workflow
async def asking() -> Any:
    asked = awakeable("manager")

    @query
    def token() -> str:
        return asked.token

    return await asked


@step(external=True, timeout="1h")
async def outside_work() -> None:
    outside.say(step_context().token)


@workflow
async def delegating() -> Any:
    return await outside_work()


WHY = r"its value of type .*Local cannot be loaded by this run's code: LookupError: no such thing here"


async def test_a_signal_that_cannot_be_loaded_is_an_error_where_it_is_awaited(env: TestEngine) -> None:
    async with env:
        run = await env.start(careful)
        await run.signal("go", Local())
        await run.signal("go", "fine")
        assert await run.result() == "fine"
        (said,) = set(outside.said)
        assert "signal 'go': its value of type" in said and "LookupError: no such thing here" in said


@pytest.mark.parametrize("early", [False, True])
async def test_a_run_that_does_not_care_fails_with_it(env: TestEngine, early: bool) -> None:
    async with env:
        run: TestRun[None]
        if early:
            run = await env.start(careless, signal=("go", Local()))
        else:
            run = await env.start(careless)
            await run.signal("go", Local())
        with pytest.raises(RunFailed, match=f"UnloadableValue: signal 'go': {WHY}"):
            await run.result()


async def test_a_handler_is_not_called_with_what_cannot_be_loaded(env: TestEngine) -> None:
    async with env:
        run = await env.start(listening)
        await run.signal("go", Local())
        await run.signal("go", "fine")
        await run.signal("stop")
        await run.result()
        assert set(outside.said) == {"fine"}
        (said,) = logged(run)
        assert re.match(f"not handled: signal 'go': {WHY}", said)


async def test_an_answer_that_cannot_be_loaded_fails_what_awaits_it(env: TestEngine) -> None:
    async with env:
        run = await env.start(asking)
        await env.complete(await run.query("token"), Local())
        with pytest.raises(RunFailed, match=f"the answer to awakeable 'manager': {WHY}"):
            await run.result()
        other = await env.start(delegating)
        await env.complete(outside.said[-1], Local())
        with pytest.raises(RunFailed, match=f"the answer to step 'outside_work': {WHY}"):
            await other.result()


async def test_updates_and_queries_with_what_cannot_be_loaded_say_so(env: TestEngine) -> None:
    async with env:
        run = await env.start(shop)
        with pytest.raises(UpdateRejected, match=f"update buy: argument 1: {WHY}"):
            await run.update("buy", Local())
        with pytest.raises(FlowbookError, match=f"query how-many: 'item': {WHY}"):
            await run.query("how-many", item=Local())


async def test_an_argument_that_cannot_be_loaded_pauses_the_run_with_its_name(env: TestEngine) -> None:
    async with env:
        run = await env.start(takes, Local())
        assert await run.wait() == "paused"
        assert run._summary()["reason"].startswith("argument 'thing': its value of type")


@workflow
async def takes(thing: Any) -> None:
    await signal("go")


@workflow
async def desk() -> None:
    @update
    def file(name: str, size: int = 0, *tags: str) -> str:
        return name

    @query
    def found(name: str | None = None, day: datetime.date | None = None) -> str:
        return str(name)

    @on_signal("note")
    def _(text: str) -> None:
        outside.say(text)

    await signal("close")


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (("update", "file", ["12", "3", "4", '"5"', "true"]), {"texts": [True, False, True, False, True]}),
        (("update", "file", ["null"]), {"problem": "update 'file': 'name' must be str, not NoneType None"}),
        (("update", "file", ["a", "many"]), {"problem": "update 'file': 'size' must be int, not str 'many'"}),
        (("update", "file", []), {"problem": "update 'file': missing a required argument: 'name'"}),
        (("query", "found", ["12", "2026-11-23"]), {"texts": [True, False]}),
        (("query", "found", ["null", "soon"]), {"problem": "query 'found': 'day' must be"}),
        (("query", "found", ["a", "null", "b"]), {"problem": "query 'found': too many positional arguments"}),
        (("signal", "note", ["7"]), {"texts": [True]}),
        (("signal", "note", ["null"]), {"problem": "signal 'note': 'text' must be str"}),
        (("signal", "close", ["7"]), {}),
        (("update", "nope", ["7"]), {}),
    ],
)
async def test_what_is_typed_in_a_shell_is_what_the_handler_takes(
    env: TestEngine, typed: tuple[str, str, list[str]], says: dict[str, Any]
) -> None:
    async with env:
        run = await env.start(desk)
        known = await run.query(HANDLERS, *typed)
        assert (known.pop("queries"), known.pop("updates")) == (["found"], ["file"])
        assert known.keys() == says.keys()
        assert known == says or says["problem"] in known["problem"]
