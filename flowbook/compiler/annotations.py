"""The little language on top of a cell: ``#| key: value``. Text in, options with their places out.

It is the part of YAML that people write there, read with our own eyes so that every finding can be underlined.
Keys that Quarto or nbdev own are left alone, and so is every unknown key that is not close to one of ours.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator, Sequence

import msgspec

from flowbook.compiler.diagnostics import Diagnostic, Edit, Severity
from flowbook.compiler.spelling import nearest
from flowbook.core.calendar import check_cron
from flowbook.errors import UserError

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
    "queue",
    "priority",
    "heartbeat",
    "isolate",
    "memory",
    "at_most_once",
    "external",
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
LATER = ("reuse", "test", "entity", "schedule", "on-failure", "on_failure")
"""Keys of the design that this version reads and does not act on."""

_FOREIGN = {
    *("echo", "eval", "output", "include", "warning", "error", "cache", "classes", "tags", "id", "layout"),
    *("code-fold", "code-summary", "code-overflow", "code-line-numbers", "export", "exporti", "exports", "exportd"),
    *("default_exp", "hide", "hide_line", "exec_doc", "filter_stream"),
}
_BARE = {"step", "params", "shared", "loop", "at_most_once", "external"}
_LISTS = {"needs", "reads", "writes"}
_NESTED = {"loop": ("until", "every", "timeout", "max"), "workflow": ("name", *LATER)}
"""What may stand below a key, or between braces behind it."""

_LINE = re.compile(r"^#\s*\|(.*)$")
_PAIR = re.compile(r"([A-Za-z][\w-]*)\s*(?::(?:\s+|$)|$)")
_NEARLY = re.compile(r"([A-Za-z][\w-]*)(?:\s*[:=]\s*|\s+)(\S.*)$")
_INLINE = re.compile(r"\s{2,}(?=(?:until|every|max|timeout):\s)")


class Option(msgspec.Struct, frozen=True):
    """A key and its text. ``line`` and ``column`` (from 1) say where the value stands in the cell."""

    key: str
    text: str
    line: int
    column: int


_NOTHING = Option("", "", 0, 0)


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
        return [_unquoted(name.strip()) for name in (self.text(key) or "").strip("[] ").split(",") if name.strip()]


def read_annotations(source: str, cell: str = "", number: int = 0) -> Annotations:
    """Read the leading ``#|`` lines of a cell."""
    reader = _Reader(cell, number)
    lines = source.split("\n")
    count = next((index for index, line in enumerate(lines) if _LINE.match(line) is None), len(lines))
    for index, line in enumerate(lines[:count], 1):
        matched = _LINE.match(line)
        if matched is not None:
            reader.read(matched.group(1), index, matched.start(1))
    reader.finish()
    reader.late(lines, count)
    return Annotations(_with_loop_timeout(reader.options), count, reader.ignored, tuple(reader.findings))


class _Reader:
    """Takes line after line. ``parent`` is the key whose value is on the indented lines that follow it."""

    def __init__(self, cell: str, number: int) -> None:
        self.cell = cell
        self.number = number
        self.options: dict[str, Option] = {}
        self.findings: list[Diagnostic] = []
        self.ignored = False
        self.parent = ""
        self.indentation = 0
        self.valueless: dict[str, tuple[int, int]] = {}

    def read(self, body: str, line: int, start: int) -> None:
        """One line's text; ``start`` is the column (from 0) where it begins."""
        body = _without_comment(body)
        indentation = len(body) - len(body.lstrip())
        if not body.strip():
            return
        if self.parent and indentation > self.indentation:
            self._below(body.strip(), line, start + indentation + 1)
            return
        self.parent, self.indentation = "", indentation
        for offset, part in _pairs(body):
            pair = _PAIR.match(part)
            column = start + offset + 1
            if pair is None:
                self._malformed(part, line, column)
            else:
                self._pair(pair.group(1), part[pair.end() :].strip(), line, column, column + pair.end())

    def finish(self) -> None:
        """Keys that were given no value, on their line or below it."""
        for key, (line, column) in self.valueless.items():
            if not self.options.get(key, _NOTHING).text:
                self._find("FB002", f"'{key}' needs a value", f"write '#| {key}: value'", line, column, key)

    def late(self, lines: list[str], first: int) -> None:
        """Comments below the head that look like annotations have no effect, which nobody would notice."""
        likely = [number for number, line in enumerate(lines[first:], first + 1) if _is_ours(line)]
        for number in sorted(_comments(lines, first).intersection(likely)) if likely else ():
            fix = "move it to the top of the cell, above everything else"
            message = "an annotation counts at the top of the cell only; this one has no effect"
            self._find("FB023", message, fix, number, 1, lines[number - 1].rstrip(), severity="warning")

    def _pair(self, key: str, value: str, line: int, column: int, value_column: int) -> None:
        if key == "eval":
            self.ignored = self.ignored or value.lower() in ("false", "no", "off")
        if not value and (key in (*_NESTED, *_LISTS) or key not in KEYS):
            self.parent = key
        if key == "schedule":
            self._scheduled(value, line, column, value_column)
        elif key in LATER:
            fix = "the cell runs as if it were not there"
            self._find("FB003", f"'{key}' is not acted on by this version", fix, line, column, key, severity="warning")
        elif key not in KEYS:
            if key not in _FOREIGN and not key.startswith(("fig-", "tbl-", "lst-", "skip_")):
                self._misspelt(key, KEYS, line, column)
        elif key in _NESTED and value.startswith("{"):
            self._between_braces(key, value, line, value_column)
        elif not value and key not in _BARE:
            self.valueless[key] = (line, column)
            if self.parent != key:
                self.options.setdefault(key, Option(key, "", line, value_column))
        elif key not in _BARE or value.lower() not in ("false", "no", "off"):
            kept = f"loop.{key}" if key in ("until", "every", "max") else key
            self._keep(kept, value, line, column, value_column)

    def _keep(self, key: str, value: str, line: int, column: int, value_column: int) -> None:
        name = key.rpartition(".")[2]
        if key in self.options:
            fix = f"take this one away, or the one in line {self.options[key].line}"
            self._find("FB002", f"'{name}' is given twice", fix, line, column, name)
            return
        text = "" if key in _BARE and value.lower() in ("true", "yes", "on") else _unquoted(value)
        shift = 1 if text and text != value else 0
        self.options[key] = Option(key, text, line, value_column + shift)

    def _scheduled(self, value: str, line: int, column: int, value_column: int) -> None:
        """Running a notebook, or opening it, must not make it run every night: that is asked for by a command."""
        text = _unquoted(value)
        message, fix = "'schedule' by itself starts nothing", "make it with: flowbook schedule set NAME NOTEBOOK"
        try:
            check_cron(text)
            self._keep("schedule", value, line, column, value_column)
        except UserError as error:
            message, fix = str(error), "write for example '#| schedule: 0 3 * * *'"
        self._find("FB003", message, fix, line, column, "schedule", severity="warning")

    def _below(self, text: str, line: int, column: int) -> None:
        """A line that belongs to the key above it."""
        key = self.parent
        if key in _LISTS:
            self._item(key, text, line, column)
        elif key in _NESTED:
            self._child(key, text, line, column)

    def _item(self, key: str, text: str, line: int, column: int) -> None:
        name = _unquoted(text.removeprefix("-").strip())
        if not text.startswith("-") or not name:
            self._find("FB002", f"'{text}' is not an item of a list", f"write '#|   - {text}'", line, column, text)
            return
        known = self.options.get(key)
        listed = f"{known.text}, {name}" if known else name
        first = known or Option(key, "", line, column)
        self.options[key] = msgspec.structs.replace(first, text=listed)

    def _between_braces(self, key: str, value: str, line: int, column: int) -> None:
        inner, start = value[1:].removesuffix("}"), column + 1
        for piece in re.finditer(r"(?:[^,\"'(\[]|\"[^\"]*\"|'[^']*'|\([^)]*\)|\[[^\]]*\])+", inner):
            text = piece.group()
            self._child(key, text.strip(), line, start + piece.start() + len(text) - len(text.lstrip()))
        if key == "loop":
            self.options.setdefault("loop", Option("loop", "", line, column))

    def _child(self, parent: str, text: str, line: int, column: int) -> None:
        """``key: value`` below a key."""
        self.valueless.pop(parent, None)
        pair = _PAIR.match(text)
        key, value = (pair.group(1), text[pair.end() :].strip()) if pair else (text.split()[0] if text else "", "")
        allowed = _NESTED[parent]
        if pair is None or key not in allowed:
            self._misplaced(parent, text if pair is None else key, line, column)
        elif key == "schedule":
            self._scheduled(value, line, column, column + pair.end())
        elif key in LATER:
            self._pair(key, value or "later", line, column, column + pair.end())
        elif not value:
            self._find("FB002", f"'{key}' needs a value", f"write '{key}: value'", line, column, key)
        else:
            kept = "workflow" if parent == "workflow" else f"loop.{key}"
            self._keep(kept, value, line, column, column + pair.end())

    def _misplaced(self, parent: str, text: str, line: int, column: int) -> None:
        allowed = [key for key in _NESTED[parent] if key not in LATER]
        if not self._misspelt(text, allowed, line, column):
            fix = f"below '{parent}' may stand: {', '.join(allowed)}"
            self._find("FB002", f"'{text}' does not belong to '{parent}'", fix, line, column, text or " ")

    def _misspelt(self, key: str, known: Sequence[str], line: int, column: int) -> bool:
        near = nearest(key, known)
        if near is not None:
            message = f"'{key}' is not an annotation; did you mean '{near}'?"
            self._find("FB001", message, f"write '{near}'", line, column, key, text=near)
        return near is not None

    def _malformed(self, part: str, line: int, column: int) -> None:
        nearly = _NEARLY.match(part)
        word = nearly.group(1) if nearly else part.split(maxsplit=1)[0].rstrip(":=")
        key = word if word in KEYS else nearest(word, KEYS)
        if key is not None:
            fix = f"write '#| {key}: value', with a colon and a space"
            text = f"{key}: {nearly.group(2)}" if nearly else None
            self._find("FB002", f"'{part.strip()}' is not an annotation", fix, line, column, part, text=text)

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


def _pairs(body: str) -> Iterator[tuple[int, str]]:
    """The ``key: value`` parts of a line, with their columns; several only where ``until`` and its kin follow."""
    start = len(body) - len(body.lstrip())
    for gap in _INLINE.finditer(body, start):
        yield start, body[start : gap.start()]
        start = gap.end()
    if body[start:].rstrip():
        yield start, body[start:].rstrip()


def _without_comment(body: str) -> str:
    """The line without what follows a `` #`` outside quotes."""
    quote = ""
    for index, letter in enumerate(body):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and letter in body[index + 1 :]:
            quote = letter
        elif letter == "#" and body[:index][-1:].isspace():
            return body[:index]
    return body


def _is_ours(line: str) -> bool:
    matched = _LINE.match(line)
    pair = _PAIR.match(matched.group(1).strip()) if matched is not None else None
    return pair is not None and pair.group(1) in KEYS


def _comments(lines: list[str], first: int) -> set[int]:
    """Lines from ``first`` on that are comments, not text inside a string."""
    found = set()
    try:
        for token in tokenize.generate_tokens(io.StringIO("\n".join(lines[first:]) + "\n").readline):
            if token.type == tokenize.COMMENT:
                found.add(token.start[0] + first)
    except (tokenize.TokenError, SyntaxError):
        pass
    return found


def _with_loop_timeout(options: dict[str, Option]) -> dict[str, Option]:
    """On one line with ``until``, ``timeout`` is the loop's; on a line of its own it is each attempt's."""
    until, limit = options.get("loop.until"), options.get("timeout")
    if until is None or limit is None or until.line != limit.line:
        return options
    return {**{key: option for key, option in options.items() if key != "timeout"}, "loop.timeout": limit}


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" and value.count(value[0]) == 2
    return value[1:-1] if quoted else value
