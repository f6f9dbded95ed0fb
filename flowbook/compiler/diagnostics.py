"""Findings: numbered, located, with a way out. Made by every stage, shown by CLI, widgets and the extension alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

Severity = Literal["error", "warning"]


class Edit(msgspec.Struct, frozen=True):
    """Replace columns ``column`` to ``end_column`` of a cell's line (from 1) by ``text``."""

    cell: str
    line: int
    column: int
    end_column: int
    text: str


class Diagnostic(msgspec.Struct, frozen=True, omit_defaults=True):
    """One finding. ``line`` and ``column`` count from 1 in the cell, or in the module where there is no cell."""

    code: str
    message: str
    severity: Severity = "error"
    cell: str = ""
    cell_number: int = 0
    step: str = ""
    line: int = 1
    column: int = 1
    end_column: int = 1
    fix: str = ""
    edits: tuple[Edit, ...] = ()


def render(diagnostics: Iterable[Diagnostic], sources: Mapping[str, str], file: str = "") -> str:
    """The findings for a terminal, each underlined in its line. ``sources``: text by cell id ("": the module)."""
    return "\n\n".join(_rendered(found, sources.get(found.cell, ""), file) for found in diagnostics)


def _rendered(found: Diagnostic, source: str, file: str) -> str:
    place = ", ".join(
        part
        for part in (
            f"cell {found.cell_number}" if found.cell_number else "",
            f"line {found.line}",
            f"column {found.column}",
        )
        if part
    )
    lines = [f"{found.severity}[{found.code}]: {found.message}", f"  --> {file + ': ' if file else ''}{place}"]
    text = source.splitlines()
    if 0 < found.line <= len(text):
        margin = " " * len(str(found.line))
        width = max(1, found.end_column - found.column)
        lines += [
            f" {margin} |",
            f" {found.line} | {text[found.line - 1]}",
            f" {margin} | {' ' * (found.column - 1)}{'^' * width}",
        ]
    if found.fix:
        lines.append(f"  fix: {found.fix}")
    return "\n".join(lines)


def has_errors(diagnostics: Iterable[Any]) -> bool:
    """True where at least one finding is an error."""
    return any(found.severity == "error" for found in diagnostics)
