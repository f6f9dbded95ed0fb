"""A step that begins something outside. It is told to stop rather than dropped: how it ends has to be known."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from flowbook.core.failure import Failure
from flowbook.core.ids import Key
from flowbook.core.keys import idempotency_key
from flowbook.core.retry import RetryPolicy
from flowbook.errors import OutcomeUnknown, StepFailed, UserError
from flowbook.runtime.duties import NOT_STARTED, Duty
from flowbook.runtime.shielding import unbroken

if TYPE_CHECKING:
    from flowbook.runtime.commands import StepCommand
    from flowbook.runtime.definitions import Step
    from flowbook.runtime.execution import Execution

PATIENCE = 300.0
"""Seconds in which a step may end by itself when it is told to stop. After them it is stopped like any other."""

_NEVER = ("NotStarted",)
"""Failures after which nothing was begun, whoever raised them."""

_ALL = (Exception, BaseException, "Exception", "BaseException")

_OPEN = ("Interrupted", "WorkerLost", "ProcessDied", "RunPaused", "UnsavableValue")
"""Failures that say nothing of what the step had done by then, or that it has done its work."""

_OPEN_ENDINGS = (
    *("Timeout", "TimeoutError", "TimeoutException", "TimeoutExpired"),
    *("ConnectionError", "ConnectError", "TransportError", "NetworkError"),
)
"""How libraries call what came instead of an answer: most of theirs derive from no exception of Python's own."""

Names = tuple[str, ...]


def names(what: str, errors: Any) -> Names:
    """Names of exceptions, given as one class, or as several, or as their names. Raises UserError for anything else."""
    given = errors if isinstance(errors, tuple | list) else (errors,)
    for error in given:
        if not isinstance(error, str) and not (isinstance(error, type) and issubclass(error, BaseException)):
            raise UserError(f"{what} takes exception classes, or their names, not {error!r}")
        if error in _ALL:
            raise UserError(
                f"{what} cannot be {error!r}: that a time was up, or a worker lost, is one of those as well"
            )
    return RetryPolicy(non_retryable=tuple(given)).non_retryable


class Begun:
    """A step that runs, and what became of it. Its ``task`` survives the code that wanted it."""

    def __init__(
        self,
        execution: Execution,
        step: Step[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        key: Key,
        *,
        item: int | None = None,
        site: int = 0,
    ) -> None:
        self.step = step
        self._execution = execution
        self._command: StepCommand | None = None
        self._is_told = False
        work = execution.step(step, args, kwargs, key, item=item, site=site, asked=self._asked)
        self.task = execution.duties.run(work)

    def _asked(self, command: StepCommand) -> None:
        self._command = command
        self._execution.duties.adopt(command.key)

    async def result(self) -> Any:
        """Its result, once it has ended. A cancellation is passed on to the step, and raised when that has ended."""
        return await unbroken(self.task, self.tell)

    def tell(self) -> None:
        """Nobody needs its result any more. It may end by itself; after a while it is stopped."""
        if self._is_told or self.task.done():
            return
        self._is_told = True
        if self._command is None:
            self.task.cancel()
            return
        self._execution.ask_to_stop(self._command)
        self._execution.duties.run(self._lose_patience())

    async def _lose_patience(self) -> None:
        await asyncio.wait([self.task], timeout=PATIENCE)
        self.task.cancel()

    async def ended(self) -> None:
        """Have it end, and wait for that."""
        self.tell()
        await asyncio.wait([self.task])

    # What became of it, once it has ended

    @property
    def has_result(self) -> bool:
        """True where it has returned."""
        return not self.task.cancelled() and self.task.exception() is None

    @property
    def was_reused(self) -> bool:
        """True where its result is that of the run this one was forked from."""
        return self._command is not None and self._command.reused is not None

    @property
    def idempotency_key(self) -> str:
        """What its call is known by to services that do a thing once; "" where it was not called."""
        if self._command is None:
            return ""
        if self._command.reused is not None:
            return self._command.reused.called_as()
        return idempotency_key(self._execution.original, self._command.key)

    def began_nothing(self, declared: Names = ()) -> bool:
        """True where it is sure that there is nothing to be taken back: each attempt has said so, or never began."""
        if self.has_result:
            return False
        if self._command is None:
            return True
        return bool(self._failures) and all(_is_declared(failure, (*_NEVER, *declared)) for failure in self._failures)

    @property
    def is_open(self) -> bool:
        """True where an attempt may have done its work, and nobody has heard of it."""
        if self.has_result or self._command is None:
            return False
        return not self._failures or any(map(_is_open, self._failures))

    def give_up(self, duty: Duty) -> None:
        """The step failed, and nothing can be called about that: nothing is owed, or people have to look."""
        if self.began_nothing():
            duty.settle(NOT_STARTED)
        elif self.is_open:
            duty.fail(self.unknown)
        else:
            duty.settle("nothing to undo")

    @property
    def unknown(self) -> OutcomeUnknown:
        """The error that says what is not known of it."""
        return OutcomeUnknown(f"it is not known whether step '{self.step.name}' did its work: {self._why}")

    @property
    def _why(self) -> str:
        """What it ended with that says so little."""
        if self.task.cancelled():
            return f"it was stopped {PATIENCE:g} s after it was told to stop"
        failures = self._failures
        if not failures:
            error = self.task.exception()
            return f"{type(error).__name__}: {error}"
        said = next(filter(_is_open, reversed(failures)), failures[-1])
        return f"{said.type}: {said.message}"

    @property
    def _failures(self) -> tuple[Failure, ...]:
        """Why its attempts failed, the last one last; none where it was stopped."""
        error = None if self.task.cancelled() else self.task.exception()
        return error.failures if isinstance(error, StepFailed) else ()


def _is_declared(failure: Failure, declared: Names) -> bool:
    """Whoever names all errors of the system does not mean those that say nothing."""
    if _says_nothing(failure):
        declared = tuple(name for name in declared if name != OSError.__name__)
    return _is_one_of(failure, declared)


def _is_open(failure: Failure) -> bool:
    """True for an attempt that may have done its work: it says neither that it has failed nor that it never began."""
    return _says_nothing(failure) and not _is_one_of(failure, _NEVER)


def _says_nothing(failure: Failure) -> bool:
    return _is_one_of(failure, _OPEN) or any(name.endswith(_OPEN_ENDINGS) for name in (failure.type, *failure.bases))


def _is_one_of(failure: Failure, kinds: Names) -> bool:
    return any(name in kinds for name in (failure.type, *failure.bases))
