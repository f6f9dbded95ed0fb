"""What a run owes outside, in one's hand: what is known of it, and what can be done about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flowbook.api.connection import Connection
from flowbook.client import asks
from flowbook.core.value import shown
from flowbook.errors import UserError

if TYPE_CHECKING:
    from flowbook.api.started import Run
    from flowbook.wire.calls import Owed


class Obligation(Mapping[str, Any]):
    """One thing owed, and at the same time the mapping of its plain facts: ``owed.failed`` is ``owed["failed"]``.

    It is owed for ``step``, which was called with ``arguments`` and returned ``result``; ``undo`` takes it back. Where
    that has failed for good, ``failed`` is true and ``error`` says why; ``trying`` is the run that tries again.
    """

    def __init__(self, run: Run[Any], owed: Owed, connection: Connection) -> None:
        self.run = run
        self._owed = owed
        self._connection = connection

    def __getitem__(self, name: str) -> Any:
        return self._owed[name]  # type: ignore[literal-required]

    def __iter__(self) -> Iterator[str]:
        return iter(self._owed)

    def __len__(self) -> int:
        return len(self._owed)

    @property
    def key(self) -> str:
        """Which of the run's obligations it is."""
        return self._owed["key"]

    @property
    def name(self) -> str:
        """The operation, or the undo."""
        return self._owed["name"]

    @property
    def what(self) -> str:
        """``operation`` or ``undo``."""
        return self._owed["what"]

    @property
    def since(self) -> float:
        """Since when, in unix seconds."""
        return self._owed["since"]

    @property
    def failed(self) -> bool:
        """True where taking it back was given up."""
        return self._owed["failed"]

    @property
    def error(self) -> str:
        """Why, in one line."""
        return self._owed["error"]

    @property
    def step(self) -> str:
        """The step that it is owed for."""
        return self._owed["step"]

    @property
    def arguments(self) -> dict[str, Any]:
        """What the step was given, by parameter."""
        return {name: self._connection.decode(value) for name, value in self._owed["arguments"].items()}

    @property
    def has_result(self) -> bool:
        """True where it is known what the step returned."""
        return self._owed["result"] is not None

    @property
    def result(self) -> Any:
        """What the step returned; None also where that is not known."""
        return None if self._owed["result"] is None else self._connection.decode(self._owed["result"])

    @property
    def undo(self) -> str:
        """The step that takes it back, "" where there is none."""
        return self._owed["undo"]

    @property
    def trying(self) -> Run[Any] | None:
        """The run that tries to take it back now."""
        return self.run._other(self._owed["trying"])

    def settle(self, note: str) -> None:
        """Say that nothing is owed any more, and in ``note`` why: it was taken back by hand, or never was.

        Recorded with the run, also where that has ended. Raises UserError while its code takes care of it itself.
        """
        self._connection.client.ask(asks.settle_obligation(self.run.id, self.key, note))

    def retry(self) -> Run[Any]:
        """Have a run of its own try again to take it back, with the code of this one; gives that run.

        It is settled when that run succeeds. Raises UserError while the run's code takes care of it itself.
        """
        summary = self._connection.client.ask(asks.retry_obligation(self.run.id, self.key))
        trying = next((owed["trying"] for owed in summary["obligations"] if owed["key"] == self.key), "")
        found = self.run._other(trying)
        if found is None:
            raise UserError(f'"{self.name}" is settled already.')
        return found

    def __repr__(self) -> str:
        state = f"being tried again by {self['trying']}" if self["trying"] else self.error or "open"
        return f"<{self.what} {self.name} of run {self.run.id}: {call(self._owed)}; {state}>"


class Obligations(list[Obligation]):
    """What a run owes outside now, oldest first."""

    def find(self, text: str = "") -> Obligation:
        """The one of this key or name; without one, the only one there is. Raises UserError where it is not clear."""
        exact = [owed for owed in self if owed.key == text]
        found = exact or [owed for owed in self if not text or owed.name == text]
        if len(found) == 1:
            return found[0]
        known = "; ".join(f"{owed.what} {owed.name} has the key {owed.key}" for owed in self)
        if not known:
            raise UserError("the run owes nothing outside.")
        why = "say which is meant" if not text else f'there {"is more than one" if found else "is no"} "{text}"'
        raise UserError(f"{why}: {known}.")


def call(owed: Mapping[str, Any]) -> str:
    """``create(name='a') returned 'vm-a'``, as far as it is known."""
    given = ", ".join(f"{name}={_short(value)}" for name, value in owed["arguments"].items())
    if not owed["step"]:
        return ""
    returned = f" returned {_short(owed['result'])}" if owed["result"] is not None else ""
    return f"{owed['step']}({given}){returned}"


def _short(value: Any) -> str:
    text = repr(shown(value))
    return text if len(text) <= 60 else f"{text[:59]}…"
