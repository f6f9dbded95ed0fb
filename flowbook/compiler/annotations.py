"""The little language on top of a cell: ``#| key: value``. Text in, options with their places out; no Python here.

Keys that Quarto or nbdev own are left alone, and so is every unknown key that is not close to one of ours.
"""

from __future__ import annotations

import re

import msgspec

from flowbook.compiler.diagnostics import Diagnostic, Edit, Severity

KEYS = (
    "step",
    "label",
    "params",
    "shared",
    "workflow",
    "retries",
    "backoff",
    "timeout",
    "when",
    "map",
    "concurrency",
    "loop",
    "until",
    "every",
    "max",
    "wait",
    "undo",
    "needs",
    "reads",
    "writes",
)
LATER = ("reuse", "queue", "test", "entity", "schedule", "on-failure")
"""Keys of the design that this version reads and does not act on."""

_FOREIGN = {
    *("echo", "eval", "output", "include", "warning", "error", "cache", "classes", "tags", "id", "layout"),
    *("code-fold", "code-summary", "code-overflow", "code-line-numbers", "export", "exporti", "exports", "exportd"),
    *("default_exp", "hide", "hide_line", "exec_doc", "filter_stream"),
}
_BARE = {"step", "params", "shared", "loop"}
_NESTED = ("until", "every", "timeout", "max")

_LINE = re.compile(r"^#\s*\|(.*)$")
_PAIR = re.compile(r"([A-Za-z][\w-]*)\s*(?::(?:\s+|$)|$)")
_INLINE = re.compile(r"\s{2,}(?=(?:until|every|max|timeout):\s)")


class Option(msgspec.Struct, frozen=True):
    """A key and its text. ``line`` and ``column`` (from 1) say where the value stands in the cell."""

    key: str
    text: str
    line: int
    column: int


class Annotations(msgspec.Struct, frozen=True):
    """What a cell's head says. ``lines`` is the number of annotation lines; options inside ``loop:`` are ``loop.…``.

    ``ignored`` is Quarto's ``eval: false``: the cell is not part of the workflow.
    """

    options: dict[str, Option]
    lines: int
    ignored: bool = False
    diagnostics: tuple[Diagnostic, ...] = ()

    def text(self, key: str) -> str | None:
        """The text of an option, or None where it is not there."""
        option = self.options.get(key)
        return option.text if option is not None else None

    def names(self, key: str) -> list[str]:
        """An option that lists names: ``a, b`` or ``[a, b]``."""
        return [name.strip() for name in (self.text(key) or "").strip("[] ").split(",") if name.strip()]


def read_annotations(source: str, cell: str = "", number: int = 0) -> Annotations:
    """Read the leading ``#|`` lines of a cell."""
    reader = _Reader(cell, number)
    lines = 0
    for line in source.split("\n"):
        matched = _LINE.match(line)
        if matched is None:
            break
        lines += 1
        reader.read(matched.group(1), lines, matched.start(1))
    return Annotations(_with_loop_timeout(reader.options), lines, reader.ignored, tuple(reader.findings))


class _Reader:
    def __init__(self, cell: str, number: int) -> None:
        self.cell = cell
        self.number = number
        self.options: dict[str, Option] = {}
        self.findings: list[Diagnostic] = []
        self.in_loop = False
        self.ignored = False

    def read(self, body: str, line: int, start: int) -> None:
        """One line's text; ``start`` is the column (from 0) where it begins."""
        if len(body) - len(body.lstrip()) <= 1:
            self.in_loop = False
        for offset, part in _pairs(body):
            pair = _PAIR.match(part)
            if pair is None:
                self._malformed(part, line, start + offset + 1)
                continue
            key, value = pair.group(1), part[pair.end() :].strip()
            self._check(key, value, line, start + offset + 1)
            self.ignored = self.ignored or (key == "eval" and value.lower() in ("false", "no", "off"))
            if key == "loop" and not value:
                self.in_loop = True
            elif key in ("until", "every", "max") or (self.in_loop and key in _NESTED):
                key = f"loop.{key}"
            if key.partition(".")[0] in KEYS:
                self.options[key] = Option(key, _unquoted(value), line, start + offset + pair.end() + 1)

    def _check(self, key: str, value: str, line: int, column: int) -> None:
        if key in LATER:
            fix = "the cell runs as if it were not there"
            self._find("FB003", f"'{key}' is not acted on by this version", fix, line, column, key, severity="warning")
        elif key in KEYS:
            if not value and key not in _BARE:
                self._find("FB002", f"'{key}' needs a value", f"write '#| {key}: value'", line, column, key)
        elif key not in _FOREIGN and not key.startswith(("fig-", "tbl-", "lst-", "skip_")):
            near = _nearest(key)
            if near is not None:
                message = f"'{key}' is not an annotation; did you mean '{near}'?"
                self._find("FB001", message, f"write '{near}'", line, column, key, text=near)

    def _malformed(self, part: str, line: int, column: int) -> None:
        word = part.split(maxsplit=1)[0].rstrip(":=")
        key = word if word in KEYS else _nearest(word)
        if key is not None:
            fix = f"write '#| {key}: value', with a colon and a space"
            self._find("FB002", f"'{part.strip()}' is not an annotation", fix, line, column, part)

    def _find(
        self,
        code: str,
        message: str,
        fix: str,
        line: int,
        column: int,
        what: str,
        *,
        severity: Severity = "error",
        text: str | None = None,
    ) -> None:
        end = column + len(what)
        edits = (Edit(self.cell, line, column, end, text),) if text is not None else ()
        self.findings.append(
            Diagnostic(
                code,
                message,
                severity,
                cell=self.cell,
                cell_number=self.number,
                line=line,
                column=column,
                end_column=end,
                fix=fix,
                edits=edits,
            )
        )


def _pairs(body: str) -> list[tuple[int, str]]:
    """The ``key: value`` parts of a line, with their columns; several only where ``until`` and its kin follow."""
    start = len(body) - len(body.lstrip())
    pieces = []
    for gap in _INLINE.finditer(body, start):
        pieces.append((start, body[start : gap.start()]))
        start = gap.end()
    pieces.append((start, body[start:].rstrip()))
    return [(offset, piece) for offset, piece in pieces if piece]


def _with_loop_timeout(options: dict[str, Option]) -> dict[str, Option]:
    """On one line with ``until``, ``timeout`` is the loop's; on a line of its own it is each attempt's."""
    until, limit = options.get("loop.until"), options.get("timeout")
    if until is None or limit is None or until.line != limit.line:
        return options
    return {**{key: option for key, option in options.items() if key != "timeout"}, "loop.timeout": limit}


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" and value.count(value[0]) == 2:
        return value[1:-1]
    return "" if value in ("true", "True") else value


def _nearest(word: str) -> str | None:
    """The key of ours within two edits of ``word`` (one, for short words)."""
    best = min(KEYS, key=lambda known: _distance(word, known))
    return best if word and _distance(word, best) <= (2 if len(word) > 4 else 1) else None


def _distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for index, letter in enumerate(one, 1):
        previous, row[0] = row[0], index
        for place, wanted in enumerate(other, 1):
            previous, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, previous + (letter != wanted))
    return row[-1]
