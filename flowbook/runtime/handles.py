"""Handles: results that are on their way. Passing one as an argument means "wait for it first"."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from flowbook.runtime import current

R = TypeVar("R", covariant=True)
T = TypeVar("T")


class Skipped:
    """What a skipped step gives; shows as None."""

    def __repr__(self) -> str:
        return "skipped"


SKIPPED = Skipped()


class Handle(Generic[R]):
    """A result on its way. ``await`` it, pass it to a step, or unpack it where the step has several outputs."""

    def __init__(self, label: str, outputs: tuple[str, ...] = ()) -> None:
        self.label = label
        self.outputs = outputs

    async def value(self) -> Any:
        """The result, or SKIPPED."""
        raise NotImplementedError

    def peek(self) -> tuple[bool, Any]:
        """Whether the result is there, and what it is."""
        raise NotImplementedError

    def __await__(self) -> Generator[Any, None, R]:
        result = yield from self.value().__await__()
        return None if result is SKIPPED else result  # type: ignore[return-value]

    def __iter__(self) -> Generator[Handle[Any], None, None]:
        if len(self.outputs) < 2:
            raise TypeError(f"{self.label} gives one value; to unpack it, name its outputs: @step(outputs=(...))")
        for index, name in enumerate(self.outputs):
            yield ItemHandle(self, index, name)

    def otherwise(self, previous: Handle[T] | T) -> Handle[R | T]:
        """``previous`` where this step is skipped."""
        return FallbackHandle(self, previous)

    def __repr__(self) -> str:
        done, value = self.peek()
        return f"<{self.label}: {value!r}>" if done else f"<{self.label}: pending>"


class StepHandle(Handle[R]):
    """A started step, whose task it is."""

    def __init__(self, task: asyncio.Task[Any], label: str, outputs: tuple[str, ...]) -> None:
        super().__init__(label, outputs)
        self.task = task

    async def value(self) -> Any:
        return await asyncio.shield(self.task)

    def peek(self) -> tuple[bool, Any]:
        if not self.task.done() or failed(self.task):
            return False, None
        return True, self.task.result()


class ItemHandle(Handle[Any]):
    """One output of several."""

    def __init__(self, whole: Handle[Any], index: int, name: str) -> None:
        super().__init__(f"{whole.label}.{name}")
        self.whole = whole
        self.index = index

    async def value(self) -> Any:
        return self._pick(await self.whole.value())

    def peek(self) -> tuple[bool, Any]:
        done, value = self.whole.peek()
        return done, self._pick(value) if done else None

    def _pick(self, value: Any) -> Any:
        return value if value is SKIPPED else value[self.index]


class FallbackHandle(Handle[Any]):
    """A result, or an earlier one where the step is skipped."""

    def __init__(self, first: Handle[Any], previous: Any) -> None:
        super().__init__(first.label, first.outputs)
        self.first = first
        self.previous = previous

    async def value(self) -> Any:
        value = await self.first.value()
        return await resolved(self.previous) if value is SKIPPED else value

    def peek(self) -> tuple[bool, Any]:
        done, value = self.first.peek()
        if done and value is SKIPPED:
            return self.previous.peek() if isinstance(self.previous, Handle) else (True, self.previous)
        return done, value


def failed(task: asyncio.Task[Any]) -> bool:
    """True for a task that has ended without a result."""
    return task.done() and (task.cancelled() or task.exception() is not None)


async def resolved(value: Any) -> Any:
    """The value itself, or what the Handle gives (SKIPPED included)."""
    return await value.value() if isinstance(value, Handle) else value


async def given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same arguments, each Handle among them waited for."""
    if not any(isinstance(value, Handle) for value in (*args, *kwargs.values())):
        return args, kwargs
    args = tuple([await value if isinstance(value, Handle) else value for value in args])
    return args, {name: await value if isinstance(value, Handle) else value for name, value in kwargs.items()}


def launch(
    body: Callable[[], Coroutine[Any, Any, Any]],
    *,
    after: tuple[Any, ...] = (),
    label: str,
    outputs: tuple[str, ...] = (),
) -> Handle[Any]:
    """Begin ``body`` as a task of the workflow, once everything in ``after`` is done."""
    execution = current.required(f"{label}.start()")

    async def run() -> Any:
        for handle in after:
            await resolved(handle)
        return await body()

    handle: StepHandle[Any] = StepHandle(execution.loop.create_task(run()), label, outputs)
    execution.handles.append(handle.task)
    return handle
