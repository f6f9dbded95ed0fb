"""How an exception is recorded: type, message, and the frames with their locals, mapped to cells."""

from __future__ import annotations

from typing import Any

import msgspec

from flowbook.core.text import writable


class Frame(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a stack.

    ``cell`` and ``line`` point into the notebook where the code came from one; otherwise ``cell`` is None and ``line``
    counts in ``file``. ``number`` is the cell's place on the page. ``locals`` maps a name to its value where that is
    small plain JSON, else to ``{"$type": ..., "preview": ...}``. ``module_line`` is the line in the stored module.
    ``task`` is what the task is called whose stack it belongs to, "" for the workflow's own.
    """

    function: str
    line: int
    file: str = ""
    cell: str | None = None
    number: int = 0
    module_line: int = 0
    source: str = ""
    locals: dict[str, Any] = {}
    task: str = ""

    def __post_init__(self) -> None:
        _make_writable(self, "function", "file", "source")


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A recorded exception. ``frames`` is outermost first; ``text`` is the printable traceback.

    ``bases`` are the names of the classes its type derives from. ``retry_after`` is in seconds, where the exception
    itself said when to try again; 0 leaves it to the policy.
    """

    type: str
    message: str
    frames: tuple[Frame, ...] = ()
    text: str = ""
    retryable: bool = True
    retry_after: float = 0.0
    bases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _make_writable(self, "type", "message", "text")


def _make_writable(made: msgspec.Struct, *names: str) -> None:
    for name in names:
        text = getattr(made, name)
        if not text.isascii():
            msgspec.structs.force_setattr(made, name, writable(text))
