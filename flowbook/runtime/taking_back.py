"""What a run still owes is tried again by another one: a workflow of Flowbook's own, run with the code of the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from flowbook.core.events import StepRef
from flowbook.core.ids import Key, RunId
from flowbook.core.keys import idempotency_key
from flowbook.core.owing import ARGUMENT, TAKE_BACK
from flowbook.errors import OutcomeUnknown, UserError
from flowbook.runtime.definitions import Step, Workflow
from flowbook.runtime.known import KEY, Known
from flowbook.runtime.operation import ended, patient, undone

Find = Callable[[str, str], Step[..., Any] | None]
"""The step of a name and a home, where there is one."""


class Owed(msgspec.Struct):
    """What is to be taken back, as ``core.owing`` tells it."""

    run: RunId
    key: Key
    what: str
    work: StepRef
    undo: StepRef
    confirm: StepRef | None = None
    every: float = 0.0
    idempotency_key: str = ""

    def called_as(self) -> str:
        """The idempotency key of the call that is to be taken back, "" where it is not known."""
        return self.idempotency_key or (idempotency_key(self.run, self.key) if self.key else "")


def taking_back(find: Find) -> Workflow[..., object]:
    """The workflow; ``find`` gives it the steps of its run's code."""

    async def take_back(owed: dict[str, Any], **given: Any) -> object:
        about = msgspec.convert(owed, Owed)
        arguments = {name.removeprefix(ARGUMENT): value for name, value in given.items() if name.startswith(ARGUMENT)}
        known = Known(_found(find, about.work), arguments, about.called_as())
        if "result" in given:
            known.result = given["result"]
        undo = patient(_found(find, about.undo))
        if about.what == "operation":
            confirm = None if about.confirm is None else patient(_found(find, about.confirm))
            await ended(undo, confirm, about.every, known)
        elif not await undone(undo, known):
            what = f"what '{known.step.name}' returned{'' if known.key else f', or its {KEY}'}"
            raise OutcomeUnknown(f"'{undo.name}' needs {what}, which is not known")
        return None

    return Workflow(take_back, TAKE_BACK)


def _found(find: Find, ref: StepRef) -> Step[..., Any]:
    step = find(ref.name, ref.home)
    if step is None:
        raise UserError(
            f"step '{ref.name}' is not defined at the top level of a module, where another run could find it; take "
            "it back by hand, and settle it: `flowbook obligations settle`"
        )
    return step
