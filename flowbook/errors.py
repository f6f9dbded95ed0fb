"""Every exception a user can see. Each message says what happened, where, and what to do next.

Nothing else belongs here: no formatting, no exit codes, no imports from the floors above.
"""

from __future__ import annotations

from typing import Any


class FlowbookError(Exception):
    """Base of all errors Flowbook raises on purpose."""


class UserError(FlowbookError):
    """The user's mistake: the CLI prints the message alone and exits with 2."""


class CompileError(UserError):
    """A notebook or module that cannot become a workflow; ``diagnostics`` holds the findings."""

    def __init__(self, message: str, diagnostics: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.diagnostics = diagnostics


class UnknownRun(UserError):
    """No run has this id in this project's history."""


class UnknownModule(FlowbookError):
    """A module is not stored: it never was, or nothing referred to it and it was deleted."""


class UnknownSchedule(UserError):
    """No schedule has this name in this project."""


class RunConflict(UserError):
    """A run with this id exists already and was started with something else."""


class RunClosed(UserError):
    """The run has ended, so it can take no signal and cannot be cancelled."""


class UnsavableValue(FlowbookError):
    """A value that no codec can save; the message names the variable, its type, cell and line."""

    retryable = False


class UnloadableValue(FlowbookError):
    """A value that somebody sent to a run cannot be loaded by its code; the message names what was sent, and why."""


class MissingValue(FlowbookError):
    """A stored value's file is gone or damaged; the message names the file."""


class StoreError(FlowbookError):
    """The history cannot be opened, read or written; the message names the file and the way out."""


class EngineUnavailable(FlowbookError):
    """The engine could not be reached or started; the message says which and why."""


class ProtocolError(FlowbookError):
    """A peer sent something this version does not understand."""


class RunFailed(FlowbookError):
    """``run.result()`` of a run that failed; ``error`` is the recorded failure."""

    def __init__(self, message: str, error: object = None) -> None:
        super().__init__(message)
        self.error = error


class RunCancelled(FlowbookError):
    """``run.result()`` of a run that was cancelled."""


class RunTerminated(RunCancelled):
    """``run.result()`` of a run that was terminated."""


class UpdateFailed(FlowbookError):
    """The handler of an update raised; ``error`` is the recorded failure."""

    def __init__(self, message: str, error: object = None) -> None:
        super().__init__(message)
        self.error = error


class UpdateRejected(UpdateFailed):
    """The validator of an update rejected it; nothing was done about it."""


class StepFailed(FlowbookError):
    """Raised inside workflow code where a step's last attempt failed.

    ``step`` is its name, ``type`` the original exception's class name, ``error`` the recorded failure; ``failures`` are
    those of all its attempts, the last one last.
    """

    failures: tuple[Any, ...] = ()

    def __init__(self, message: str, *, step: str = "", type: str = "", error: object = None) -> None:
        super().__init__(message)
        self.step = step
        self.type = type
        self.error = error


class NotStarted(FlowbookError):
    """Raised by a step to say that it has done nothing: there is nothing to take back, and nothing to try again.

    Also how a step has failed that nobody needed any more before it began.
    """


class OutcomeUnknown(FlowbookError):
    """It is not known whether a step did its work, and so not whether there is something to take back."""


class HistoryMismatch(FlowbookError):
    """The code asked for something else than its recorded history says; ``difference`` shows both."""

    def __init__(self, message: str, difference: object = None) -> None:
        super().__init__(message)
        self.difference = difference


class NotDeterministic(FlowbookError):
    """Workflow code used something that cannot be re-executed; the message names the replacement."""


class WorkflowBlocked(FlowbookError):
    """Workflow code kept its worker's loop from turning; the message names the line."""


class RunWaits(FlowbookError):
    """A test asked for the result of a run that waits for something the test never brings; the message says what."""


class InternalError(FlowbookError):
    """Something in the engine broke that Flowbook did not foresee; the message says what and which log has more."""
