"""Steps of queues, as the code that calls them sees it: what a worker elsewhere needs to know, as one note."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flowbook.core.events import StepScheduled
from flowbook.core.queues import NO_LIMITS, Queue, as_queue
from flowbook.core.value import Value
from flowbook.errors import UserError
from flowbook.runtime.commands import Argument, StepCommand

if TYPE_CHECKING:
    from flowbook.runtime.definitions import Step
    from flowbook.runtime.values import Values

MOST_PRIORITY = 2**31


def required_queue(queue: Any, function: Callable[..., Any], priority: Any, key: Any) -> Queue | None:
    """The queue that a step's options name. Raises UserError where they make no sense together."""
    name = getattr(function, "__name__", "step")
    if queue is None:
        if priority or key:
            raise UserError(f"step '{name}' has a priority or a concurrency_key, but no queue; add queue=\"...\"")
        return None
    if not isinstance(queue, Queue | str):
        raise UserError(f"the queue of step '{name}' is {queue!r}; write its name, or Queue(name, ...)")
    check_order(f"step '{name}'", priority, key)
    return as_queue(queue)


def check_order(what: str, priority: Any, key: Any) -> None:
    """Raise UserError where a priority is no whole number, or a concurrency key neither text nor function."""
    if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > MOST_PRIORITY:
        raise UserError(f"the priority of {what} is {priority!r}; it has to be a whole number, higher goes first")
    if not isinstance(key, str) and not callable(key):
        raise UserError(f"the concurrency_key of {what} is {key!r}; it has to be text, or a function giving text")


def scheduled(command: StepCommand, values: Values) -> StepScheduled:
    """The note by which a worker of its queue gets the step. Raises UserError where its key cannot be told."""
    step = command.step
    queue = step.queue
    assert queue is not None
    options: dict[str, Any] = {"home": f"{step.function.__module__}:{getattr(step.function, '__qualname__', '')}"}
    if queue.limits != NO_LIMITS:
        options["limits"] = queue.limits.plain()
    return StepScheduled(
        key=command.key,
        step=step.name,
        queue=queue.name,
        digest=command.digest,
        arguments=tuple(_encoded(value, values, step) for value in command.arguments),
        keywords={name: _encoded(value, values, step) for name, value in command.keywords.items()},
        retry=step.retry,
        timeout=step.timeout or 0.0,
        heartbeat=getattr(step, "heartbeat_timeout", None) or 0.0,
        once=bool(getattr(step, "at_most_once", False)),
        priority=step.priority,
        concurrency_key=_key(command, values),
        options=options,
        item=command.item,
        site=command.site,
    )


def _encoded(value: Any, values: Values, step: Step[..., Any]) -> Value:
    return value.value if isinstance(value, Argument) else values.encoded(value, f"an argument of {step.name}")


def _key(command: StepCommand, values: Values) -> str:
    """The concurrency key: a function of the step's arguments is called with them."""
    key = command.step.concurrency_key
    if isinstance(key, str):
        return key
    arguments = [_decoded(value, values) for value in command.arguments]
    keywords = {name: _decoded(value, values) for name, value in command.keywords.items()}
    return str(key(*arguments, **keywords))


def _decoded(value: Any, values: Values) -> Any:
    return values.decoded(value.value) if isinstance(value, Argument) else value
