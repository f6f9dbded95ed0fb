"""Work that is taken back, in reverse, where what follows it fails: ``async with saga() as s``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from flowbook.core.ids import Key
from flowbook.errors import UserError
from flowbook.runtime import current, sites
from flowbook.runtime.begun import Begun
from flowbook.runtime.context import standing_in, step_context
from flowbook.runtime.definitions import Step
from flowbook.runtime.duties import NO_KEY, NOT_STARTED, Duty, Owed
from flowbook.runtime.handles import given
from flowbook.runtime.known import Known
from flowbook.runtime.operation import as_step, called, patient, undone
from flowbook.runtime.shielding import unbroken

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution

T = TypeVar("T")


def saga() -> Saga:
    """Steps with their undos, in a block that either ends well or leaves nothing behind.

    ::

        async with saga() as s:
            vm = await s.do(create_vm, order, undo=delete_vm)
            await s.do(register, vm, undo=unregister)

    Where the block raises or the run is cancelled or terminated, the undos run in reverse; then the exception goes
    on. An undo that fails for good stays an open obligation (`flowbook obligations`) and the others run all the same.
    So does a step of which it is not known whether it did its work, unless its undo needs no result of it.
    """
    return Saga()


class Saga:
    """The open undos of one block, which is the ``owner`` task's. Each is owed before its step begins."""

    def __init__(self) -> None:
        self._owed: list[_Undo] = []
        self._waiting: list[str] = []
        self.owner: asyncio.Task[Any] | None = None
        self._has_begun = False
        self._has_ended = False

    @overload
    async def do(self, step: Step[..., T], *args: Any, undo: Callable[..., Any] | None = None, **kwargs: Any) -> T: ...
    @overload
    async def do(
        self, step: Callable[..., Any], *args: Any, undo: Callable[..., Any] | None = None, **kwargs: Any
    ) -> Any: ...
    async def do(
        self, step: Callable[..., Any], *args: Any, undo: Callable[..., Any] | None = None, **kwargs: Any
    ) -> Any:
        """Run ``step``; ``undo`` takes it back if need be.

        ``undo`` finds its parameters by name among the step's arguments and outputs; ``result``, or a single
        parameter of another name, is what the step returned.
        """
        doing = as_step("a saga", step)
        self._check(doing.name)
        execution = current.execution()
        if undo is None:
            return await called(doing, *args, **kwargs)
        if execution is None:
            owed = _Undo(self, None, undo, Known.of(doing, args, kwargs))
            with standing_in(doing.name):
                owed.known.key = step_context().idempotency_key
                owed.known.result = await called(doing, *args, **kwargs)
            self._owed.append(owed)
            return owed.known.result
        site = sites.here()
        label, line = (f"{doing.name}@{site.label}", site.line) if site is not None else (doing.name, 0)
        self._waiting.append(doing.name)
        try:
            args, kwargs = await given(args, kwargs)
        finally:
            self._waiting.remove(doing.name)
        self._check(doing.name)
        key = execution.key(label)
        owed = _Undo(self, execution, undo, Known.of(doing, args, kwargs))
        self._owed.append(owed)
        result = await owed.do(args, kwargs, key, line)
        if self._has_ended:
            raise UserError(f"saga(): its block has ended, so '{doing.name}' is taken back; {_INSIDE}")
        return result

    async def register(self, undo: Callable[..., Any], *args: Any) -> None:
        """Have ``undo(*args)`` called if the block fails from here on."""
        step = as_step("a saga", undo)
        self._check(step.name)
        execution = current.execution()
        owed = _Undo(self, execution, step, Known.of(step, args, {}), as_called=args)
        self._owed.append(owed)
        if execution is not None:
            site = sites.here()
            await owed.owe(site.line if site is not None else 0)

    def _check(self, name: str) -> None:
        """Raise UserError where there is no block that would take ``name`` back."""
        if not self._has_begun:
            raise UserError(
                f"saga(): '{name}' would never be taken back; write 'async with saga() as s:' and do it in that block"
            )
        if self._has_ended:
            raise UserError(f"saga(): its block has ended, and '{name}' would never be taken back; {_INSIDE}")

    async def __aenter__(self) -> Saga:
        if self._has_begun:
            raise UserError("saga(): a saga is one block; make another one with 'async with saga() as s:'")
        self._has_begun = True
        execution = current.execution()
        if execution is not None:
            self.owner = asyncio.current_task()
            execution.duties.blocks[self] = asyncio.current_task()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, GeneratorExit):
            return
        self._has_ended = True
        execution = current.execution()
        going_on = [*(owed.known.step.name for owed in self._owed if owed.is_going_on), *self._waiting]
        failed = error
        if error is None and going_on:
            failed = UserError(f"saga(): the block ended while '{going_on[0]}' was still going on; {_INSIDE}")
        try:
            if failed is None:
                for owed in self._owed:
                    owed.keep()
            elif execution is None:
                await self._take_back()
            else:
                await unbroken(execution.duties.run(self._take_back()))
        finally:
            # Also where it was cancelled once more meanwhile: the block has ended.
            for owed in self._owed:
                owed.tell(failed)
            if execution is not None:
                execution.duties.blocks.pop(self, None)
        if failed is not None and failed is not error:
            raise failed

    async def _take_back(self) -> None:
        for owed in reversed(self._owed):
            await owed.take_back()


_INSIDE = "await it inside the block, in a TaskGroup for example, which ends all that it began"


class _Undo:
    """One step and what takes it back; of what was registered alone, with its arguments."""

    def __init__(
        self,
        block: Saga,
        execution: Execution | None,
        undo: Callable[..., Any],
        known: Known,
        *,
        as_called: tuple[Any, ...] | None = None,
    ) -> None:
        self.block = block
        self.execution = execution
        self.undo = patient(as_step("a saga", undo))
        self.known = known
        self.as_called = as_called
        self.duty: Duty | None = None
        self.begun: Begun | None = None
        if as_called is None:
            known.check_undo(self.undo)

    @property
    def is_going_on(self) -> bool:
        """True while the step has not ended."""
        begins = self.duty is not None and self.duty.open and self.begun is None and self.as_called is None
        return begins or (self.begun is not None and not self.begun.task.done())

    async def owe(self, site: int, key: Key = NO_KEY) -> None:
        """Have it durable that this may have to be taken back."""
        assert self.execution is not None
        owed = Owed(
            self.undo.name,
            "undo",
            site,
            work=self.known.step.ref,
            begins=key,
            arguments=self.known.encoded(self.execution.values),
            undo=self.undo.ref,
        )
        self.duty = self.execution.duties.open(owed, self._taken_back, owner=self.block.owner)
        await self.duty.recorded()

    async def do(self, args: tuple[Any, ...], kwargs: dict[str, Any], key: Key, site: int) -> Any:
        """Run the step, and not half of it: a cancellation waits until it is known what is to be taken back."""
        assert self.execution is not None
        await self.owe(site, key)
        self.begun = Begun(self.execution, self.known.step, args, kwargs, key, site=site)
        return await self.begun.result()

    def keep(self) -> None:
        """The block ended well: what was done stands."""
        if self.duty is None:
            return
        if self.begun is None or self.begun.has_result:
            self.duty.settle("kept")
        else:
            # Its work may have been done since by another step, which its undo could not tell from its own.
            self.begun.give_up(self.duty)

    def tell(self, error: BaseException | None) -> None:
        """Have the block's exception, if there is one, say that this could not be taken back."""
        if self.duty is not None and error is not None:
            self.duty.tell(error)

    async def take_back(self) -> None:
        """Undo it, once."""
        if self.execution is None:
            await self._undone()
        elif self.duty is not None:
            await self.duty.take_back()

    async def _taken_back(self) -> None:
        duty, begun = self.duty, self.begun
        assert duty is not None
        if begun is not None:
            await self.known.learn(begun)
        if self.as_called is None and (begun is None or begun.began_nothing()):
            # It has not begun, and does not any more.
            duty.settle(NOT_STARTED)
            return
        if not await self._undone() and begun is not None:
            begun.give_up(duty)

    async def _undone(self) -> bool:
        """Call the undo; False where its step ended before it gave what the undo needs."""
        if self.as_called is None:
            return await undone(self.undo, self.known)
        await called(self.undo, *self.as_called)
        return True
