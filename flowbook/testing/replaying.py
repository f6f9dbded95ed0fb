"""Does today's code still fit a run recorded yesterday? Re-execution of a history, without an engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from flowbook.core import events as e
from flowbook.core.ids import Digest
from flowbook.core.value import Value
from flowbook.errors import HistoryMismatch, MissingValue, UserError
from flowbook.runtime.definitions import Step, Workflow
from flowbook.runtime.execution import Execution
from flowbook.runtime.replay import OTHER_CODE, SAME_CODE
from flowbook.store.values import ValueFiles
from flowbook.wire import codec

History = Sequence[e.Recorded] | str | Path


def replay(history: History, workflow: Workflow[..., Any] | Callable[..., Any], *, values: str | Path = "") -> Any:
    """Re-execute a recorded run with this code; its result, or None where it has none (yet).

    ``history`` is a run's ``history``, or a file of exported JSON: a list of events, or one event a line. Values too
    long for the history are looked for in the state folder ``values``. No step runs. Raises HistoryMismatch where the
    code does something else than recorded; the message names the first difference.
    """
    recorded = list(history) if not isinstance(history, str | Path) else read_history(Path(history))
    if not recorded or not isinstance(recorded[0].event, e.RunStarted):
        raise UserError("this is no history of a run: its first event must be RunStarted")
    found = workflow if isinstance(workflow, Workflow) else Workflow(workflow)
    load = ValueFiles(values).load if values else _nowhere
    return _replayed(recorded, found, load)


def _replayed(recorded: list[e.Recorded], workflow: Workflow[..., Any], load: codec.Load) -> Any:
    try:
        return _re_executed(recorded, workflow, load, edited=False)
    except HistoryMismatch:
        # It may still be the same but for where it is asked.
        return _re_executed(recorded, workflow, load, edited=True)


def _re_executed(recorded: list[e.Recorded], workflow: Workflow[..., Any], load: codec.Load, *, edited: bool) -> Any:
    ending = next((one.event for one in reversed(recorded) if isinstance(one.event, e.CLOSING)), None)
    # What comes after that is about what the run owes, and nothing its code hears of.
    open_part = recorded if ending is None else recorded[: [one.event for one in recorded].index(ending)]
    execution = Execution(workflow, save=_digest_only, load=load)
    if edited:
        execution.matching.allow_edits(f"{SAME_CODE}. {OTHER_CODE}")
    try:
        execution.begin(open_part, is_past=ending is not None)
        asked: list[Any] = [
            item
            for item in execution.items
            if not isinstance(item, e.SignalDropped | e.TimerCancelled | e.StepStopRequested)
        ]
        asked += [call.command.step for call in execution.calls]
    except HistoryMismatch as error:
        raise HistoryMismatch(_explained(error, recorded), error.difference) from None
    finally:
        execution.close()
    if ending is not None and not isinstance(ending, e.RunTerminated):
        _compare_ends(ending, asked, load)
    return codec.decode(ending.value, load) if isinstance(ending, e.RunCompleted) else None


def _compare_ends(ending: e.AnyEvent, asked: list[Any], load: codec.Load) -> None:
    """The code must now say the one thing that was recorded last."""
    said = next((item for item in asked if isinstance(item, e.CLOSING)), None)
    if said is None:
        more = next((_named(item) for item in asked), "waits for something that never came")
        raise _difference(_end(ending, load), f"the code goes on: {more}")
    if type(said) is not type(ending):
        raise _difference(_end(ending, load), _end(said, load))
    match said, ending:
        case e.RunCompleted(value=now), e.RunCompleted(value=then):
            same = _content(now) == _content(then)
        case e.RunFailed(failure=failure), e.RunFailed(failure=recorded):
            same = failure.type == recorded.type
        case e.RunContinued(arguments=now), e.RunContinued(arguments=then):
            same = {name: _content(v) for name, v in now.items()} == {name: _content(v) for name, v in then.items()}
        case _:
            same = True
    if not same:
        raise _difference(_end(ending, load), _end(said, load))


def _content(value: Value) -> Any:
    """What tells one value from another, however its JSON was laid out on the way."""
    if value.codec == "json" and not value.file:
        return value.type, json.loads(bytes(value.data))
    return codec.fingerprint(value)


def _difference(recorded: str, asked: str) -> HistoryMismatch:
    return HistoryMismatch(
        f"the run ends differently.\n  recorded: {recorded}\n  now:      {asked}",
        {"key": "", "recorded": recorded, "asked": asked},
    )


def _named(item: Any) -> str:
    if isinstance(item, Step):
        return f"step '{item.name}'"
    name = getattr(item, "step", "") or getattr(item, "name", "") or getattr(item, "label", "")
    return f"{type(item).__name__} {name}".strip()


def _end(event: Any, load: codec.Load) -> str:
    match event:
        case e.RunCompleted(value=value):
            return f"it returned {_shown(value, load)}"
        case e.RunFailed(failure=failure):
            return f"it failed with {failure.type}: {failure.message}"
        case e.RunContinued(arguments=arguments):
            given = ", ".join(f"{name}={_shown(value, load)}" for name, value in arguments.items())
            return f"it went on as a new run with {given or 'no arguments'}"
        case _:
            return f"it was {e.STATUS[type(event).__name__]}"


def _shown(value: Value, load: codec.Load) -> str:
    try:
        return repr(codec.decode(value, load))
    except MissingValue:
        return value.preview or f"a value of {value.size} bytes"


def _explained(error: HistoryMismatch, recorded: list[e.Recorded]) -> str:
    """The mismatch with the event it is about."""
    difference = error.difference if isinstance(error.difference, dict) else {}
    key = difference.get("key", "")
    about = next((r for r in recorded if key and getattr(r.event, "key", None) == key), None)
    place = f"\n  at event {about.seq} of {len(recorded)}: {type(about.event).__name__} {key}" if about else ""
    told = "".join(
        f"\n  {label} {difference[name] or 'nothing'}"
        for name, label in (("recorded", "recorded:"), ("asked", "now:     "))
        if name in difference
    )
    return f"{error}{place}{told}"


def read_history(path: Path) -> list[e.Recorded]:
    """Exported events. Raises UserError where the file holds something else."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"the history {path} cannot be read: {error.strerror or error}") from None
    try:
        if "\n{" in text.strip():
            return [_decode_event(line) for line in text.splitlines() if line.strip()]
        found = msgspec.json.decode(text, type=list[msgspec.Raw] | dict[str, msgspec.Raw])
        if isinstance(found, dict):
            return _decode_events(found.get("history") or found.get("events") or b"[]")
        return [_decode_event(one) for one in found]
    except msgspec.DecodeError as error:
        raise UserError(f"{path} is not a history that this version understands: {error}") from None


_decode_event = msgspec.json.Decoder(e.Recorded).decode
_decode_events = msgspec.json.Decoder(list[e.Recorded]).decode


def _digest_only(data: bytes) -> Digest:
    """Nothing is saved by looking."""
    import hashlib

    return Digest(hashlib.blake2b(data, digest_size=16).hexdigest())


def _nowhere(digest: Digest) -> bytes:
    raise MissingValue(
        f"the history refers to the value file {digest}; say which state folder has it: replay(..., values=FOLDER)"
    )
