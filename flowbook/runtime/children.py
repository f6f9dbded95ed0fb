"""Child runs: started by a run, awaited, signalled and cancelled like a task, and runs of their own all the same."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from flowbook.core import events as e
from flowbook.core import keys, options
from flowbook.core.chains import check_child_id
from flowbook.core.consequences import UNWANTED
from flowbook.core.duration import time_limit
from flowbook.core.ids import RunId
from flowbook.core.queues import NO_LIMITS, Queue, as_queue
from flowbook.core.value import Value
from flowbook.errors import StepFailed, UserError
from flowbook.runtime import current
from flowbook.runtime.commands import DurableFuture
from flowbook.runtime.decorated import is_local, local
from flowbook.runtime.definitions import Workflow
from flowbook.runtime.elsewhere import ask_to_stop, asked, line_of_call, other_run
from flowbook.runtime.handles import StepHandle, resolved
from flowbook.runtime.remote import check_order
from flowbook.runtime.shielding import unbroken
from flowbook.wire import codec

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution

R = TypeVar("R", covariant=True)
Encode = Callable[[Any, str], Value]

PARENT_CLOSE = ("cancel", "terminate", "abandon")
ON_CANCEL = ("request", "wait", "abandon")
ON_CONFLICT = ("fail", "use_existing")


class Options(NamedTuple):
    """What a child is started with besides its arguments.

    ``parent_close``: what becomes of it when its parent ends (``cancel``, ``terminate`` or ``abandon``).
    ``on_cancel``: what ``cancel()`` of its handle does: ``request`` asks it to stop and awaiting it raises at once,
    ``wait`` raises when it has ended, ``abandon`` lets it go on; with ``wait`` a cancelled await of it does the same,
    but for one that the run's end has cancelled, where the child outlives that.
    ``on_conflict``: an open run has its id: ``fail``, or ``use_existing``, which awaits that run and leaves it alone.
    ``signal`` is delivered with the start.
    """

    id: str | None = None
    name: str = ""
    timeout: float | str | None = None
    parent_close: str = "cancel"
    on_cancel: str = "request"
    on_conflict: str = "fail"
    signal: tuple[str, Any] | None = None
    attributes: dict[str, Any] = {}
    memo: dict[str, Any] = {}
    queue: Queue | str | None = None
    priority: int = 0
    concurrency_key: str = ""

    @property
    def is_shared(self) -> bool:
        """True where it may be a run that others have started."""
        return self.on_conflict == "use_existing"


class _Begun(asyncio.Event):
    """Set when the child is asked for, or will not be."""

    is_asked = False


class ChildHandle(StepHandle[R]):
    """A child run: await it for its result, signal it, cancel it. ``id`` is the run's."""

    def __init__(self, task: asyncio.Task[R], label: str, id: RunId, begun: _Begun, chosen: Options) -> None:
        super().__init__(task, label, ())
        self.id = id
        self._begun = begun
        self._waits = chosen.on_cancel == "wait"
        self._close = chosen.parent_close

    async def value(self) -> Any:
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            execution = current.execution()
            outlives = execution is not None and execution.end.is_outlived(self._close)
            if self._waits and not self.task.done() and not outlives:
                self.task.cancel()
                with suppress(StepFailed):
                    await unbroken(self.task)
            raise

    async def signal(self, name: str, value: Any = None) -> None:
        """Send it a signal; done when it is recorded there. Where it could not be started, raises why."""
        await self._begun.wait()
        if not self._begun.is_asked:
            if self.task.cancelled():
                raise UserError(f"child {self.label} was cancelled before it was started, so it can take no signal")
            self.task.result()
        await other_run(self.id).signal(name, value)

    def cancel(self) -> None:
        """Ask it to stop; awaiting it raises CancelledError, at once or when it has ended (``on_cancel``)."""
        self.task.cancel()


def start_child(
    workflow: Workflow[..., R], args: tuple[Any, ...], kwargs: dict[str, Any], given: Mapping[str, Any]
) -> ChildHandle[R]:
    """Start ``workflow`` as a run of its own, a child of this one. ``given`` are options by name (see ``Options``)."""
    execution = current.required(f"{workflow.name}.start_child()")
    chosen = _checked(workflow, given)
    signature = inspect.signature(workflow.function)
    try:
        arguments = dict(signature.bind(*args, **kwargs).arguments)
    except TypeError as error:
        raise UserError(f"{workflow.name}.start(): {error}; it is {workflow.name}{signature}") from None
    _require_found(execution, workflow)
    label, line = line_of_call()
    key = execution.key(f"{workflow.name}{label}")
    run = RunId(chosen.id or f"{execution.id}.{keys.fingerprint(key, 6)}")
    encode = execution.values.encoded
    begun = _Begun()

    async def body() -> Any:
        inputs = {parameter: await resolved(value) for parameter, value in arguments.items()}
        encoded = {parameter: encode(value, parameter) for parameter, value in inputs.items()}
        parts = [part for item in encoded.items() for part in (item[0].encode(), codec.fingerprint(item[1]))]
        started = e.ChildStarted(key, workflow.name, run, encoded, site=line, **_fields(chosen, encode))
        future = asked(execution, key, workflow.name, parts, started, what="child workflow", site=line)
        begun.is_asked = True
        begun.set()
        return await (_until_its_end(execution, run, future) if chosen.on_cancel == "wait" else future)

    task: asyncio.Task[R] = execution.loop.create_task(body())
    task.add_done_callback(lambda _: begun.set())
    execution.children.add(task)
    return ChildHandle(task, workflow.name, run, begun, chosen)


async def _until_its_end(execution: Execution, run: RunId, future: DurableFuture) -> Any:
    """The child's result; where that is not wanted any more, the child is asked to stop, and has ended first."""

    async def stop() -> None:
        with suppress(StepFailed):
            await ask_to_stop(run, UNWANTED, "parent")
        await asyncio.wait([future])
        # What became of it is for nobody any more.
        future.exception()

    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if not future.done():
            stopping = execution.loop.create_task(stop())
            execution.children.add(stopping)
            await unbroken(stopping)
        raise


def _checked(workflow: Workflow[..., Any], given: Mapping[str, Any]) -> Options:
    """The options. Raises UserError where there is none of a name, or they make no sense."""
    what = f"the child {workflow.name}"
    for option in given:
        if option not in Options._fields:
            known = ", ".join(Options._fields)
            raise UserError(f"{option}=... is no option of a child run; what {what} can be started with is {known}")
    chosen = Options(**given)
    if chosen.is_shared:
        # It may not be ours: what ends this run, or this call, is nothing to it.
        chosen = Options(**{"parent_close": "abandon", "on_cancel": "abandon", **given})
    options.one_of("parent_close", chosen.parent_close, PARENT_CLOSE)
    options.one_of("on_cancel", chosen.on_cancel, ON_CANCEL)
    options.one_of("on_conflict", chosen.on_conflict, ON_CONFLICT)
    if chosen.id is not None:
        check_child_id(chosen.id)
    if chosen.is_shared and (chosen.id is None or (chosen.parent_close, chosen.on_cancel) != ("abandon", "abandon")):
        raise UserError(
            f'{what}: on_conflict="use_existing" may give a run that others started: it needs an id=, and its '
            'parent_close and on_cancel are "abandon"'
        )
    options.text(f"the name of {what}", chosen.name)
    return chosen


def _fields(chosen: Options, encode: Encode) -> dict[str, Any]:
    """What the options make of a ``ChildStarted``. Raises UserError, UnsavableValue."""
    signal = options.first_signal(chosen.signal)
    return {
        "close": chosen.parent_close,
        "detached": chosen.on_cancel == "abandon",
        "timeout": time_limit(chosen.timeout),
        "name": chosen.name,
        "attributes": options.attributes(chosen.attributes),
        "memo": {entry: encode(value, entry) for entry, value in options.memo(chosen.memo).items()},
        "signals": (e.FirstSignal(signal[0], encode(signal[1], signal[0])),) if signal is not None else (),
        "on_conflict": chosen.on_conflict,
        **_place(chosen),
    }


def _place(chosen: Options) -> dict[str, Any]:
    """The queue the child waits in."""
    if chosen.queue is None:
        if chosen.priority or chosen.concurrency_key:
            raise UserError('a run has a priority or a concurrency_key only in a queue; add queue="..."')
        return {}
    if not isinstance(chosen.queue, str | Queue):
        raise UserError(f"queue={chosen.queue!r:.80} is no queue; write its name")
    queue = as_queue(chosen.queue)
    if queue.limits != NO_LIMITS:
        raise UserError(f"a child names its queue and sets no limits: queue={queue.name!r}, and `flowbook queue set`")
    check_order("the child", chosen.priority, chosen.concurrency_key)
    if not isinstance(chosen.concurrency_key, str):
        raise UserError(f"the concurrency_key of a child is text, not {type(chosen.concurrency_key).__name__}")
    return {"queue": queue.name, "priority": chosen.priority, "concurrency_key": chosen.concurrency_key}


def _require_found(execution: Execution, workflow: Workflow[..., Any]) -> None:
    """A child is started by name: the name has to mean this very workflow."""
    if execution.workflow_named is None:
        return
    if is_local(workflow.function):
        raise UserError(local(workflow.name))
    if execution.workflow_named(workflow.name) is not workflow:
        raise UserError(
            f"two workflows are called '{workflow.name}' here, and a child is started by name; "
            'give one of them another: @workflow(name="...")'
        )
