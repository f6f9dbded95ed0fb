"""The JSON documents of ``--json`` and how errors are told. Stable: fields are added, never changed."""

from __future__ import annotations

import json as _json
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from flowbook.cli import terminal
from flowbook.core.failure import Failure, Frame
from flowbook.core.printable import printable
from flowbook.errors import CompileError

if TYPE_CHECKING:
    from flowbook.api.connection import Connection
    from flowbook.wire.calls import Moment, Owed, Summary


def emit(document: Any) -> None:
    """The one document on stdout."""
    print(_json.dumps(document, indent=2, ensure_ascii=not terminal.has_unicode(sys.stdout), default=_last_resort))


def say(value: Any) -> None:
    """A value for people: JSON where it is plain, a preview where it is not."""
    if isinstance(value, dict) and "$type" in value:
        print(printable(f"<{value['$type']}> {value.get('preview', '')}".rstrip()))
    else:
        print(printable(_json.dumps(value, ensure_ascii=False, default=_last_resort)))


def complain(error: Exception, json: bool = False, text: str = "") -> None:
    """An error for people on stderr, or ``text`` for it; with ``json``, the error as a document on stdout as well."""
    print(terminal.lines(text or f"flowbook: {error}"), file=sys.stderr, flush=True)
    if json:
        document: dict[str, Any] = {"error": {"type": type(error).__name__, "message": str(error)}}
        if isinstance(error, CompileError):
            document["diagnostics"] = [diagnostic(d) for d in error.diagnostics]
        emit(document)
        sys.stdout.flush()


def run(summary: Summary, connection: Connection) -> dict[str, Any]:
    """A run: what ``run``, ``show``, ``watch``, ``signal`` and ``runs`` print."""
    result = summary["result"]
    return {
        "id": summary["id"],
        "workflow": summary["workflow"],
        "name": summary["name"],
        "status": summary["status"],
        "result": None if result is None else connection.plain(result),
        "error": None if summary["error"] is None else failure(summary["error"], summary["step"]),
        "reason": summary["reason"],
        "started": summary["started"],
        "ended": summary["ended"],
        "seq": summary["seq"],
        "module": summary["module"],
        "source": summary["source"],
        "origin": summary["origin"],
        "parent": summary["parent"] or None,
        "continued": summary["continued"] or None,
        "attributes": summary["attributes"],
        "memo": {name: connection.plain(value) for name, value in summary["memo"].items()},
        "obligations": [_owed(owed, connection) for owed in summary["obligations"]],
        "waits": summary["waits"],
    }


def _owed(owed: Owed, connection: Connection) -> dict[str, Any]:
    given = {name: connection.plain(value) for name, value in owed["arguments"].items()}
    result = owed["result"]
    return {**owed, "arguments": given, "result": None if result is None else connection.plain(result)}


def failure(error: Failure, step: str) -> dict[str, Any]:
    """What went wrong: type, message, and where."""
    frame = error.frames[-1] if error.frames else None
    return {
        "type": error.type,
        "message": error.message,
        "step": step or None,
        "cell": frame.cell if frame else None,
        "line": frame.line if frame else None,
        "frames": [stack_frame(f) for f in error.frames],
        "text": error.text,
    }


def stack_frame(frame: Frame) -> dict[str, Any]:
    """One line of a stack; ``cell`` is the cell's id, ``number`` its place on the page."""
    return {
        "cell": frame.cell,
        "number": frame.number or None,
        "line": frame.line,
        "function": frame.function,
        "task": frame.task,
        "file": frame.file,
        "source": frame.source,
        "locals": frame.locals,
    }


def moment(found: Moment, connection: Connection) -> dict[str, Any]:
    """A run as of an event."""
    return {
        "event": found["event"],
        "stack": [stack_frame(frame) for frame in found["stack"]],
        "values": {name: connection.plain(value) for name, value in found["values"].items()},
    }


def diagnostic(found: Any) -> dict[str, Any]:
    """A finding of the compiler; ``cell`` is the cell's id, ``cell_number`` its place on the page."""
    return {
        "code": found.code,
        "severity": found.severity,
        "cell": found.cell or None,
        "cell_number": found.cell_number or None,
        "step": found.step or None,
        "line": found.line,
        "column": found.column,
        "end_column": found.end_column,
        "message": found.message,
        "fix": found.fix,
    }


def _last_resort(value: Any) -> Any:
    return msgspec.to_builtins(value)
