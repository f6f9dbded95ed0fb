"""What workflow code may ask for besides steps: signals, sleep, and values that must not change on re-execution."""

from __future__ import annotations

import asyncio
import datetime
import inspect
import random as _random
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple, overload

from flowbook.core import options
from flowbook.core.duration import seconds
from flowbook.errors import UserError
from flowbook.runtime import current, implicit
from flowbook.runtime.draws import stream
from flowbook.runtime.handles import Handle, launch

Args = TypeVarTuple("Args")
T = TypeVar("T")


class _Signal:
    """``await signal("approval", timeout="24h")``: the value somebody sends; TimeoutError when the time is up."""

    async def __call__(self, name: str, *, timeout: float | str | None = None) -> Any:
        options.name("the name of a signal", name)
        future = current.required("signal()").signal(name)
        if timeout is None:
            return await future
        async with asyncio.timeout(seconds(timeout)):
            return await future

    def start(self, name: str, timeout: float | str | None = None, after: tuple[Any, ...] = ()) -> Handle[Any]:
        """The same as a Handle, waiting from the moment everything in ``after`` is done."""
        options.name("the name of a signal", name)
        return launch(lambda: self(name, timeout=timeout), after=after, label=f"signal.{name}")


class _Sleep:
    """``await sleep("2h")``: a durable timer. ``asyncio.sleep`` is one too."""

    async def __call__(self, duration: float | str) -> None:
        await asyncio.sleep(seconds(duration))

    def start(self, duration: float | str, after: tuple[Any, ...] = ()) -> Handle[Any]:
        """The same as a Handle, sleeping from the moment everything in ``after`` is done."""
        return launch(lambda: self(duration), after=after, label="sleep")


signal = _Signal()
sleep = _Sleep()


def now() -> datetime.datetime:
    """Workflow time in UTC: when the last event was recorded. Outside a workflow, the clock's."""
    execution = current.execution()
    if execution is None:
        return datetime.datetime.now(datetime.UTC)  # noqa: TID251 - a plain call outside any run
    return datetime.datetime.fromtimestamp(execution.time(), datetime.UTC)


def random() -> float:
    """A number in [0, 1), the same on every re-execution; each statement has its own stream."""
    execution = current.execution()
    return _random.random() if execution is None else stream(execution, "random").random()


def uuid4() -> uuid.UUID:
    """A random UUID, the same on every re-execution; each statement has its own stream."""
    execution = current.execution()
    if execution is None:
        return uuid.uuid4()  # noqa: TID251 - a plain call outside any run
    return uuid.UUID(int=stream(execution, "uuid4").getrandbits(128), version=4)


@overload
async def record(function: Callable[[*Args], Coroutine[Any, Any, T]], *args: *Args) -> T: ...
@overload
async def record(function: Callable[[*Args], T], *args: *Args) -> T: ...
async def record(function: Callable[..., Any], *args: Any) -> Any:  # type: ignore[misc]
    """Call ``function`` once and keep its result: for a clock, a random number, a look at a file."""
    if not callable(function):
        raise UserError(f"record() takes a function and its arguments, not {type(function).__name__}: record(f, x)")
    execution = current.execution()
    if execution is None:
        result = function(*args)
        return await result if inspect.isawaitable(result) else result
    function, args, kwargs = implicit.unwrapped(function, args)
    return await execution.call(implicit.step(function), args, kwargs)
