"""What a run waits for that no worker of its own does: what it says to other runs, and answers from outside.

Each is a command like a step, noted instead of begun, and settled like one. Child runs are in ``children``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from flowbook.core import events as e
from flowbook.core import keys, options
from flowbook.core.duration import seconds
from flowbook.core.ids import Key, RunId
from flowbook.core.token import token
from flowbook.core.value import Value
from flowbook.runtime import current, sites
from flowbook.runtime.commands import DurableFuture, StepCommand
from flowbook.runtime.definitions import Step
from flowbook.wire import codec

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution


def asked(
    execution: Execution,
    key: Key,
    name: str,
    parts: list[bytes],
    note: e.ChildStarted | e.SignalSent | e.CancelSent | e.StepWaiting,
    *,
    what: str,
    site: int,
) -> DurableFuture:
    """A command of this name whose result comes from elsewhere; ``note`` is the event it begins with."""
    future = DurableFuture(loop=execution.loop)
    command = StepCommand(key, Step(_nobody, name), future, keys.digest(name, parts), (), {}, site=site)
    command.elsewhere, command.what = replace(note, digest=command.digest), what
    execution.ask(command)
    return future


def _nobody() -> None:
    """Stands in for the function of what is done elsewhere."""


def line_of_call(depth: int = 3) -> tuple[str, int]:
    """The end of a key that says where in the code a command comes from, and the line."""
    site = sites.here(depth)
    return (f"@{site.label}", site.line) if site is not None else ("", 0)


class OtherRun:
    """Another run of the project, seen from workflow code.

    What is said to it is said once, however often this run is re-executed. StepFailed where there is no such run.
    """

    def __init__(self, id: str) -> None:
        self.id = options.name("a run's id", id)

    def __getattr__(self, name: str) -> Any:
        if name == "id" or name.startswith("__"):
            # Copying and saving ask for these, also before there is an id.
            raise AttributeError(name)
        raise AttributeError(
            f"in workflow code another run can be signalled and cancelled; '{name}' of run '{self.id}' may be another "
            "when the code is re-executed, so have a step ask for it"
        )

    async def signal(self, name: str, value: Any = None) -> None:
        """Send it a signal; done when it is recorded there. StepFailed where the run has closed."""
        execution = current.required("signal()")
        options.name("a signal's name", name)
        label, line = line_of_call(2)
        step = f"signal {name}"
        key = execution.key(f"{step}{label}")
        encoded: Value = execution.values.encoded(value, name)
        sent = e.SignalSent(key=key, step=step, run=RunId(self.id), name=name, value=encoded, site=line)
        parts = [self.id.encode(), codec.fingerprint(encoded)]
        await asked(execution, key, step, parts, sent, what="sending", site=line)

    async def cancel(self, reason: str = "") -> None:
        """Ask it to stop; done when it has been asked, or has ended already."""
        await ask_to_stop(RunId(self.id), options.text("the reason", reason))


async def ask_to_stop(run: RunId, reason: str, cause: str = "") -> None:
    """Have another run asked to stop, durably."""
    execution = current.required("cancel()")
    label, line = line_of_call(2)
    step = f"cancel {run}"
    key = execution.key(f"{step}{label}")
    sent = e.CancelSent(key=key, step=step, run=run, reason=reason, cause=cause, site=line)
    await asked(execution, key, step, [run.encode(), reason.encode()], sent, what="request", site=line)


def other_run(id: str) -> OtherRun:
    """The run of this id, to say something to."""
    return OtherRun(id)


class Awakeable:
    """Something that will be answered from outside, by whoever has the ``token``. Await it for the answer."""

    def __init__(self, future: asyncio.Future[Any], token: str) -> None:
        self.token = token
        self._future = future

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.shield(self._future).__await__()


def awakeable(name: str = "awakeable", *, timeout: float | str | None = None) -> Awakeable:
    """A promise that somebody outside keeps: ``flowbook.complete(token, value)`` or ``flowbook.fail(token, why)``.

    After ``timeout`` it fails with a StepFailed that is also a TimeoutError.
    """
    execution = current.required("awakeable()")
    options.name("the name of an awakeable", name)
    label, line = line_of_call()
    key = execution.key(f"{name}{label}")
    expires = 0.0 if timeout is None else execution.time() + seconds(timeout)
    waiting = e.StepWaiting(key=key, step=name, expires=expires, site=line)
    if not execution.expected.is_noted("scheduled", key):
        execution.record_first("promise", key)
    future = asked(execution, key, name, [], waiting, what="awakeable", site=line)
    return Awakeable(future, token(execution.id, key))
