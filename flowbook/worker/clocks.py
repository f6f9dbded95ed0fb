"""Plain clocks and plain chance inside workflow code: ``time``, ``random`` and ``uuid`` give what re-execution gives
again.

Outside workflow code they are what they always were. What cannot be given again (``os.urandom``, a seed of the process)
says what to use instead. What reaches the outside world is refused in ``guard``.
"""

from __future__ import annotations

import functools
import os
import random
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from flowbook.errors import NotDeterministic
from flowbook.runtime import current
from flowbook.runtime.draws import stream

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution

_CLOCKS = ("time", "monotonic", "perf_counter")
_CALENDARS = ("localtime", "gmtime", "ctime")
_DRAWS = (
    "random",
    "uniform",
    "triangular",
    "randint",
    "choice",
    "randrange",
    "sample",
    "shuffle",
    "choices",
    "normalvariate",
    "lognormvariate",
    "expovariate",
    "vonmisesvariate",
    "gammavariate",
    "gauss",
    "betavariate",
    "binomialvariate",
    "paretovariate",
    "weibullvariate",
    "getrandbits",
    "randbytes",
)
_STATES = {
    "seed": "make a generator of your own: random.Random(42)",
    "getstate": "make a generator of your own: random.Random(42)",
    "setstate": "make a generator of your own: random.Random(42)",
}


def install() -> None:
    """Put them in place, once; for the life of the process."""
    if hasattr(time.time, "__wrapped__"):
        return
    for name in _CLOCKS:
        _replace_clock(name, lambda execution: execution.time())
        _replace_clock(f"{name}_ns", lambda execution: int(execution.time() * 1e9))
    for name in _CALENDARS:
        _replace(time, name, lambda execution, theirs, secs=None: theirs(execution.time() if secs is None else secs))
    _replace(time, "strftime", _formatted)
    _replace(
        time, "sleep", _refused("time.sleep", "write 'await asyncio.sleep(...)', which is durable and blocks nobody")
    )
    for name in _DRAWS:
        if hasattr(random, name):
            _replace(random, name, _drawn(name))
    for name, instead in _STATES.items():
        _replace(random, name, _refused(f"random.{name}", instead))
    _replace(random.Random, "seed", _seeded)
    _replace(uuid, "uuid4", lambda execution, theirs: uuid.UUID(int=_bits(execution, "uuid4", 128), version=4))
    _replace(uuid, "uuid1", _refused("uuid.uuid1", "use uuid4()"))
    chance = "draw it in a step, or record() it"
    _replace(os, "urandom", _refused("os.urandom", chance))
    random._urandom = os.urandom  # type: ignore[attr-defined]


def _replace_clock(name: str, ours: Callable[[Execution], float]) -> None:
    """Clocks are read for every step: no arguments are passed on."""
    theirs, executing = getattr(time, name), current.execution

    @functools.wraps(theirs)
    def either() -> Any:
        execution = executing()
        return theirs() if execution is None else ours(execution)

    setattr(time, name, either)


def _replace(owner: Any, name: str, ours: Callable[..., Any]) -> None:
    theirs = getattr(owner, name)
    # Looked up once: these are called by everybody.
    executing = current.execution

    @functools.wraps(theirs)
    def either(*args: Any, **options: Any) -> Any:
        execution = executing()
        return theirs(*args, **options) if execution is None else ours(execution, theirs, *args, **options)

    setattr(owner, name, either)


def _formatted(execution: Execution, theirs: Callable[..., str], format: str, moment: Any = None) -> str:
    return theirs(format, time.localtime() if moment is None else moment)


def _drawn(name: str) -> Callable[..., Any]:
    def drawn(execution: Execution, theirs: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return getattr(stream(execution, f"random.{name}", 3), name)(*args, **options)

    return drawn


def _bits(execution: Execution, name: str, count: int) -> int:
    return stream(execution, name, 4).getrandbits(count)


def _seeded(
    execution: Execution, theirs: Callable[..., None], generator: random.Random, a: Any = None, *more: Any
) -> None:
    """``random.Random()``: a generator without a seed gets one that it gets again."""
    theirs(generator, _bits(execution, "random.Random", 64) if a is None else a, *more)


def _refused(name: str, instead: str) -> Callable[..., NoReturn]:
    def refused(*args: Any, **options: Any) -> NoReturn:
        raise NotDeterministic(f"{name}() cannot be re-executed inside a workflow; {instead}")

    return refused
