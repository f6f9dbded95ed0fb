"""Runs that share an id: a run that went on as a new one, or whose id was used again after it had ended.

The first has the id people gave; those that follow it are ``id~2``, ``id~3``. What is said to the id is said to the
last of them; what is said to a run that has gone on is said to the one it has gone on as.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from msgspec.structs import replace

from flowbook.core.events import RunStarted
from flowbook.core.ids import RunId
from flowbook.core.messages import AnyMessage, StartRun, TerminateRun
from flowbook.core.printable import is_printable, printable
from flowbook.core.state import RunState, request_mark
from flowbook.errors import RunConflict, UserError

_MEMBER = re.compile(r"^(?P<root>.+)~(?P<number>[1-9]\d*)$", re.DOTALL)

ON_CONFLICT = ("same", "use_existing", "fail", "terminate_existing")
ON_CLOSED = ("same", "reject", "allow", "allow_failed")
LONGEST_ID, LONGEST_CHILD = 200, 1000
"""Characters. What a child is called by its parent begins with the parent's id."""

LONGEST_SHOWN = 40

_FAILED = ("failed", "cancelled", "terminated")


Address = Literal["run", "heir", "id"]
"""Whom a message is for: that very run, what that run has gone on as, or the last run of that id."""


KNOWN_IDS = 100
"""How many ids of signals, and of updates, a run knows at least of those its chain was sent before: all that the run
it goes on from was sent itself, and where these are fewer, the newest before. A chain may live for years; what is sent
again with an id that it has forgotten is another signal, another update."""


def root(run: RunId) -> RunId:
    """The id the chain began with."""
    found = _MEMBER.match(run)
    return RunId(found["root"]) if found else run


def number(run: RunId) -> int:
    """The run's place in its chain, from 1."""
    found = _MEMBER.match(run)
    return int(found["number"]) if found else 1


def following(run: RunId) -> RunId:
    """The id of the run that comes after ``run``."""
    return RunId(f"{root(run)}~{number(run) + 1}")


Instruction = tuple[RunId, AnyMessage]


def start_plan(current: RunState | None, message: StartRun) -> list[Instruction]:
    """Whom to tell what so that a start is done, given the chain's last run. Raises RunConflict where refused.

    Where a run is ended first, the start is to be asked anew once it has: what it owes is taken back before.
    """
    _check(message)
    if current is None or not current.seq:
        return [(message.run, message)]
    here = replace(message, run=current.run)
    again = replace(message, run=following(current.run))
    if current.closed:
        allowed = message.on_closed == "allow" or (message.on_closed == "allow_failed" and current.closed in _FAILED)
        if allowed:
            return [(again.run, again)]
        if message.on_closed == "reject":
            raise RunConflict(
                f'run "{current.run}" exists already and {current.ending}. Give the new run another id, '
                'or start it with on_closed="allow".'
            )
        # What an open run of this id would mean is not asked here.
        return [(current.run, replace(here, on_conflict="same"))]
    match message.on_conflict:
        case "fail":
            raise RunConflict(
                f'run "{current.run}" is already {current.status}. Give the new run another id, '
                'or start it with on_conflict="use_existing" or "terminate_existing".'
            )
        case "terminate_existing":
            ending = TerminateRun(reason="another run of this id was started")
            return [(current.run, ending), (message.run, replace(message, on_closed="allow"))]
        case _:
            return [(current.run, here)]


def _check(message: StartRun) -> None:
    for name, value, known in (
        ("on_conflict", message.on_conflict, ON_CONFLICT),
        ("on_closed", message.on_closed, ON_CLOSED),
    ):
        if value not in known:
            raise UserError(f'{name}="{value}" is not known; it is one of {", ".join(known)}.')
    if not message.continued:
        check_new_id(message.run)


def check_child_id(run: Any) -> None:
    """Raises UserError where a parent cannot give its child this id."""
    check_new_id(run, LONGEST_CHILD)


def check_new_id(run: Any, longest: int = LONGEST_ID) -> None:
    """Raises UserError where people cannot give a run this id."""
    check_id(run, longest)
    if run.startswith("$"):
        raise UserError(f'"{run}" cannot be the id of a run: ids that begin with $ are Flowbook\'s own.')
    if run != root(RunId(run)):
        raise UserError(f'"{run}" cannot be the id of a new run: ids that end in ~ and a number are given out.')


def check_id(run: Any, longest: int = LONGEST_ID) -> None:
    """Raises UserError where no run can have this id, whoever gives it."""
    if not isinstance(run, str):
        raise UserError(f"{run!r:.80} cannot be the id of a run: it has to be text, not {type(run).__name__}.")
    shown = printable(run[:LONGEST_SHOWN]) + ("…" if run[LONGEST_SHOWN:] else "")
    if not 0 < len(run) <= longest:
        raise UserError(f'"{shown}" cannot be the id of a run: it has to have 1 to {longest} characters.')
    if not is_printable(run):
        raise UserError(f'"{shown}" cannot be the id of a run: it has characters that cannot be shown.')


def is_same_start(message: StartRun, state: RunState) -> bool:
    """True when the run was started with exactly this."""
    return request_mark(message) == state.request


def started(message: StartRun) -> RunStarted:
    """The fact that follows from a start. Raises UserError for an id that no run can have."""
    check_id(root(message.run), LONGEST_CHILD if message.parent is not None else LONGEST_ID)
    asked = set(StartRun.__struct_fields__).intersection(RunStarted.__struct_fields__)
    return RunStarted(**{name: getattr(message, name) for name in asked})
