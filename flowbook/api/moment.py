"""A run as of one past event: its stack, and every value it had. Nothing here runs user code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flowbook.api.connection import Connection
from flowbook.core.failure import Frame
from flowbook.core.printable import printable
from flowbook.core.value import Value

WIDTH = 100


class Unsaved:
    """A variable whose value cannot be saved (a lock, a connection): its type, and what it looks like."""

    def __init__(self, type: str, preview: str) -> None:
        self.type = type
        self.preview = preview

    def __repr__(self) -> str:
        return self.preview or f"<{self.type}>"


class Values(Mapping[str, Any]):
    """Values by name, decoded when asked for."""

    def __init__(self, values: dict[str, Value], connection: Connection) -> None:
        self.encoded = values
        self._connection = connection

    def __getitem__(self, name: str) -> Any:
        value = self.encoded[name]
        return Unsaved(value.type, value.preview) if value.codec == "none" else self._connection.decode(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self.encoded)

    def __len__(self) -> int:
        return len(self.encoded)

    def plain(self) -> dict[str, Any]:
        """All of them as JSON can show them."""
        return {name: self._connection.plain(value) for name, value in self.encoded.items()}

    def __repr__(self) -> str:
        return "\n".join(f"{name} = {clip(shown(value))}" for name, value in self.plain().items()) or "no values yet"


class Moment:
    """``event`` is its number; ``stack`` is innermost frame first, in cells and lines of the notebook."""

    def __init__(self, run: str, event: int, stack: tuple[Frame, ...], values: Values) -> None:
        self.run = run
        self.event = event
        self.stack = stack
        self.values = values

    @property
    def locals(self) -> dict[str, Any]:
        """Variables of the innermost frame."""
        return dict(self.stack[0].locals) if self.stack else {}

    def __repr__(self) -> str:
        head = f"{self.run} at event {self.event}"
        stack = stack_lines(self.stack) or ["  no code is on the stack"]
        return "\n".join([head, *stack, "", "values", *(f"  {line}" for line in repr(self.values).splitlines())])


def stack_lines(stack: Iterable[Frame], indent: str = "  ") -> list[str]:
    """The frames for people: where, the line itself, and the variables."""
    lines: list[str] = []
    task = ""
    for frame in stack:
        if frame.task != task:
            task = frame.task
            lines.append(f"{indent}task {task}" if task else f"{indent}the workflow itself")
        place = f"cell {frame.number}, line {frame.line}" if frame.cell else f"{frame.file or 'module'}:{frame.line}"
        lines.append(f"{indent}{place}, in {frame.function}")
        if frame.source.strip():
            lines.append(f"{indent}  > {printable(frame.source.strip())}")
        lines += [f"{indent}    {name} = {clip(shown(value))}" for name, value in frame.locals.items()]
    return lines


def shown(value: Any) -> str:
    """``repr``, or the preview of a value that is not plain."""
    if isinstance(value, dict) and "$type" in value:
        preview = str(value.get("preview", "")).replace("\n", " ")
        return preview if preview.startswith("<") else f"<{value['$type']}> {preview}".rstrip()
    return repr(value)


def clip(text: str, width: int = WIDTH) -> str:
    """At most ``width`` characters on one line."""
    text = printable(" ".join(text.split("\n")))
    return text if len(text) <= width else text[: width - 1] + "…"
