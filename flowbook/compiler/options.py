"""Annotations whose values have a language of their own: waits, maps, loops, durations, back-off, expressions.

Each is read for one cell, with a finding where it cannot be. Which step a name comes from is not known here.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from flowbook.compiler.annotations import Option
from flowbook.compiler.cells import PageCell
from flowbook.compiler.diagnostics import Diagnostic
from flowbook.compiler.scopes import expression_names
from flowbook.compiler.unsteady import unsteady
from flowbook.core.duration import seconds, size
from flowbook.core.queues import checked_name
from flowbook.core.retry import RetryPolicy
from flowbook.errors import UserError

_UNDO_KEYS = {
    *("step", "label", "retries", "backoff", "timeout", "queue", "loop", "reads", "writes"),
    *("priority", "heartbeat", "isolate", "memory"),
}


_APART = (
    ("at_most_once", "retries", "it is never begun a second time"),
    ("external", "isolate", "its result comes from outside, and not from a process"),
    ("external", "queue", "its result comes from outside, and not from a worker"),
)


def wait(cell: PageCell, findings: list[Diagnostic]) -> tuple[str, str]:
    """The signal the cell waits for, or the time it sleeps; "" where there is none."""
    option = cell.annotations.options.get("wait")
    if option is None or not option.text:
        return "", ""
    text = option.text.strip()
    if text[:1].isdigit():
        _duration(cell, "wait", findings)
        return "", text
    name = text.removeprefix("signal ").strip()
    if not name.isidentifier():
        fix = "write a signal's name ('#| wait: approval') or a duration ('#| wait: 2h')"
        findings.append(cell.at(option, "FB011", f"'{text}' is neither a name nor a duration", fix=fix))
        return "", ""
    return name, ""


def mapped(cell: PageCell, findings: list[Diagnostic]) -> tuple[str, str]:
    """What is mapped, an expression, and the name of an item."""
    option = cell.annotations.options.get("map")
    if option is None or not option.text:
        return "", ""
    items, _, item = (part.strip() for part in option.text.rpartition(" as "))
    if not item.isidentifier() or parsed(items) is None:
        fix = "write '#| map: orders as order'"
        findings.append(cell.at(option, "FB011", f"'{option.text}' does not say what to map", fix=fix))
        return "", ""
    return items, item


def expression(cell: PageCell, key: str, findings: list[Diagnostic]) -> list[str]:
    """Names that the expression of an option reads."""
    option = cell.annotations.options.get(key)
    if option is None or not option.text:
        return []
    if parsed(option.text) is None:
        fix = "write one Python expression, for example 'total > 100'"
        findings.append(cell.at(option, "FB011", f"'{option.text}' is not an expression", fix=fix))
        return []
    return expression_names(option.text)


def steady(cell: PageCell, names: Mapping[str, str], findings: list[Diagnostic]) -> None:
    """Conditions are workflow code: what differs each time it is re-executed has no place in them."""
    for key in ("when", "loop.until"):
        option = cell.annotations.options.get(key)
        tree = parsed(option.text) if option is not None else None
        if option is not None and tree is not None:
            for found in unsteady([tree], names):
                message = f"{found.name} in '{key}' gives something else each time the run is re-executed"
                findings.append(cell.at(option, "FB041", message, fix=f"{found.instead}, or look in a step of its own"))


def items(cell: PageCell) -> str:
    """What a map is over, as written."""
    return (cell.annotations.text("map") or "").rpartition(" as ")[0].strip()


def parsed(text: str) -> ast.expr | None:
    """The expression, or None where it is not one."""
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def check(cell: PageCell, findings: list[Diagnostic]) -> None:
    """Numbers, durations, and keys that do not go together."""
    options = cell.annotations.options
    for key in ("timeout", "heartbeat", "loop.every", "loop.timeout"):
        _duration(cell, key, findings)
    for key in ("retries", "priority", "concurrency", "loop.max"):
        option = options.get(key)
        least = 0 if key in ("retries", "priority") else 1
        if option is not None and option.text and not (option.text.isdecimal() and int(option.text) >= least):
            what = f"'{option.text}' is not a number" if not option.text.isdecimal() else f"it must be at least {least}"
            findings.append(cell.at(option, "FB011", what, fix=f"write '#| {key.rpartition('.')[2]}: 5'"))
    option = options.get("backoff")
    if option is not None and option.text and backoff(option.text) is None:
        message = f"'{option.text}' is not a back-off"
        findings.append(cell.at(option, "FB011", message, fix="write '2s', '1s..30s' or '1s..30s x2'"))
    option = options.get("queue")
    if option is not None and option.text:
        try:
            checked_name(option.text)
        except UserError as error:
            findings.append(cell.at(option, "FB011", str(error), fix="write '#| queue: gpu'"))
    option = options.get("isolate")
    if option is not None and option.text not in ("", "process"):
        message = f"'{option.text}' is no way to isolate a step"
        findings.append(cell.at(option, "FB011", message, fix="write '#| isolate: process'"))
    option = options.get("memory")
    if option is not None and option.text:
        try:
            size(option.text)
        except UserError as error:
            what, _, fix = str(error).partition("; ")
            findings.append(cell.at(option, "FB011", what, fix=fix))
    _check_pairs(cell, options, findings)


def _check_pairs(cell: PageCell, options: dict[str, Option], findings: list[Diagnostic]) -> None:
    def find(key: str, message: str, fix: str, severity: str = "error") -> None:
        findings.append(cell.at(options[key], "FB016", message, fix=fix, severity=severity))

    loop = next((key for key in options if key.startswith("loop")), "")
    if loop and not options.get("loop.until"):
        fix = "write '#|   until: done' below '#| loop:'"
        findings.append(cell.at(options[loop], "FB011", "a loop needs to know when it is done", fix=fix))
    if loop and "map" in options:
        find("map", "one cell cannot both map and loop", "loop in a cell of its own, or poll inside the mapped code")
    if "concurrency" in options and "map" not in options:
        find("concurrency", "'concurrency' does nothing without 'map'", "add '#| map: ...' or take it away", "warning")
    for key, other, why in _APART:
        if key in options and other in options and options[other].text != "0":
            find(key, f"'{key}' and '{other}' exclude each other: {why}", f"take '{key}' or '{other}' away")
    for key, other in (("memory", "isolate"), ("priority", "queue")):
        if key in options and other not in options:
            fix = "add '#| isolate: process'" if other == "isolate" else "add '#| queue: NAME' or take it away"
            severity = "error" if other == "isolate" else "warning"
            find(key, f"'{key}' does nothing without '{other}'", fix, severity)
    if "backoff" in options and options.get("retries") is None:
        find("backoff", "'backoff' does nothing without 'retries'", "add '#| retries: 3'", "warning")


def check_undo(cell: PageCell, findings: list[Diagnostic]) -> None:
    """An undo step is started by a failure, so most annotations have no meaning on it."""
    for key, option in cell.annotations.options.items():
        if key.partition(".")[0] not in _UNDO_KEYS:
            message = f"'{key}' has no effect on an undo step"
            fix = "take it away; an undo may have retries, backoff, timeout, a queue and a loop"
            findings.append(cell.at(option, "FB016", message, fix=fix))


def _duration(cell: PageCell, key: str, findings: list[Diagnostic]) -> None:
    option = cell.annotations.options.get(key)
    if option is None or not option.text:
        return
    try:
        length = seconds(option.text)
    except UserError as error:
        what, _, fix = str(error).partition("; ")
        findings.append(cell.at(option, "FB011", what, fix=fix or "write for example '30s'"))
        return
    if not length and key in ("timeout", "heartbeat"):
        findings.append(cell.at(option, "FB011", f"'{key}: {option.text}' leaves the step no time", fix="take it away"))


def backoff(text: str) -> tuple[str, str, str] | None:
    """First interval, longest, factor of ``1s..30s x2``; "" where it does not say."""
    words = text.split()
    factor = words[1].removeprefix("x") if len(words) == 2 and words[1].startswith("x") else ""
    first, _, longest = (words[0] if words else "").partition("..")
    try:
        seconds(first)
        seconds(longest or first)
        RetryPolicy(backoff_coefficient=float(factor or 2))
    except (UserError, ValueError):
        return None
    return None if len(words) > 2 or (len(words) == 2 and not factor) else (first, longest, factor)
