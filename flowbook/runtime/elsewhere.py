"""What a run waits for that no worker of its own does: child runs, signals to other runs, answers from outside.

Each is a command like a step, noted instead of begun, and settled like one.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from flowbook.core import events as e
from flowbook.core import keys
from flowbook.core.duration import seconds, time_limit
from flowbook.core.ids import Key, RunId
from flowbook.core.token import token
from flowbook.core.value import Value
from flowbook.errors import UserError
from flowbook.runtime import current, sites
from flowbook.runtime.commands import DurableFuture, StepCommand
from flowbook.runtime.definitions import Step, Workflow
from flowbook.runtime.handles import StepHandle, resolved
from flowbook.wire import codec

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution

PARENT_CLOSE = ("cancel", "terminate", "abandon")


def _asked(
    execution: Execution,
    key: Key,
    name: str,
    parts: list[bytes],
    note: e.ChildStarted | e.SignalSent | e.StepWaiting,
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


def _line(depth: int = 3) -> tuple[str, int]:
    site = sites.here(depth)
    return (f"@{site.label}", site.line) if site is not None else ("", 0)


# Children


class ChildHandle(StepHandle):
    """A child run: await it for its result, signal it, cancel it. ``id`` is the run's."""

    def __init__(self, task: asyncio.Task[Any], label: str, id: RunId, begun: asyncio.Event) -> None:
        super().__init__(task, label, ())
        self.id = id
        self._begun = begun

    async def signal(self, name: str, value: Any = None) -> None:
        """Send it a signal; done when it is recorded there."""
        await self._begun.wait()
        await other_run(self.id).signal(name, value)

    def cancel(self) -> None:
        """Ask it to stop; awaiting it raises CancelledError."""
        self.task.cancel()


class Options(NamedTuple):
    """What a child is started with besides its arguments."""

    timeout: float | str | None = None
    parent_close: str = "cancel"
    attributes: dict[str, Any] = {}
    memo: dict[str, Any] = {}


def start_child(
    workflow: Workflow[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    id: str | None = None,
    name: str = "",
) -> ChildHandle:
    """Start ``workflow`` as a run of its own, a child of this one.

    ``kwargs`` may have, beside the workflow's own, ``timeout``, ``parent_close`` (``cancel``, ``terminate`` or
    ``abandon`` it when this run ends), ``attributes`` and ``memo``.
    """
    execution = current.required(f"{workflow.name}.start()")
    signature = inspect.signature(workflow.function)
    own = {
        option: kwargs.pop(option)
        for option in Options._fields
        if option in kwargs and option not in signature.parameters
    }
    options = Options(**own)
    if options.parent_close not in PARENT_CLOSE:
        raise UserError(f'parent_close="{options.parent_close}" is not known; it is one of {", ".join(PARENT_CLOSE)}')
    try:
        arguments = dict(signature.bind(*args, **kwargs).arguments)
    except TypeError as error:
        raise UserError(f"{workflow.name}.start(): {error}; it is {workflow.name}{signature}") from None
    _require_found(execution, workflow)
    limit = time_limit(options.timeout)
    label, line = _line()
    key = execution.key(f"{workflow.name}{label}")
    run = RunId(id or f"{execution.id}.{keys.fingerprint(key, 6)}")
    encode = execution.values.encoded

    async def body() -> Any:
        given = {parameter: await resolved(value) for parameter, value in arguments.items()}
        encoded = {parameter: encode(value, parameter) for parameter, value in given.items()}
        started = e.ChildStarted(
            key=key,
            step=workflow.name,
            run=run,
            arguments=encoded,
            close=options.parent_close,
            timeout=limit,
            name=name,
            attributes=options.attributes,
            memo={entry: encode(value, entry) for entry, value in options.memo.items()},
            site=line,
        )
        parts = [part for item in encoded.items() for part in (item[0].encode(), codec.fingerprint(item[1]))]
        future = _asked(execution, key, workflow.name, parts, started, what="child workflow", site=line)
        begun.set()
        return await future

    begun = asyncio.Event()
    task = execution.loop.create_task(body())
    execution.children.add(task)
    return ChildHandle(task, workflow.name, run, begun)


def _require_found(execution: Execution, workflow: Workflow[..., Any]) -> None:
    """A child is started by name: the name has to mean this very workflow."""
    if execution.workflow_named is not None and execution.workflow_named(workflow.name) is not workflow:
        raise UserError(
            f"two workflows are called '{workflow.name}' here, and a child is started by name; "
            'give one of them another: @workflow(name="...")'
        )


# Other runs


class OtherRun:
    """Another run of the project, seen from workflow code."""

    def __init__(self, id: str) -> None:
        self.id = id

    async def signal(self, name: str, value: Any = None) -> None:
        """Send it a signal; done when it is recorded there. StepFailed where the run has closed or is not known."""
        execution = current.required("signal()")
        label, line = _line(2)
        step = f"signal {name}"
        key = execution.key(f"{step}{label}")
        encoded: Value = execution.values.encoded(value, name)
        sent = e.SignalSent(key=key, step=step, run=RunId(self.id), name=name, value=encoded, site=line)
        parts = [self.id.encode(), codec.fingerprint(encoded)]
        await _asked(execution, key, step, parts, sent, what="sending", site=line)


def other_run(id: str) -> OtherRun:
    """The run of this id, to send signals to."""
    return OtherRun(id)


# Answers from outside


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
    label, line = _line()
    key = execution.key(f"{name}{label}")
    expires = 0.0 if timeout is None else execution.time() + seconds(timeout)
    waiting = e.StepWaiting(key=key, step=name, expires=expires, site=line)
    if not execution.expected.is_noted("scheduled", key):
        execution.promised.add(key)
    future = _asked(execution, key, name, [], waiting, what="awakeable", site=line)
    return Awakeable(future, token(execution.id, key))
