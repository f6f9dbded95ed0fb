"""How commands are described and mistyped ones answered: help as wide as the terminal, groups, "did you mean"."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

EXAMPLES = "examples:"

GROUPS = {
    "Run": ("run", "watch", "fork"),
    "Look": ("runs", "show", "at", "locals", "children", "query", "obligations", "sql"),
    "Change": ("signal", "update", "cancel", "terminate", "resume", "complete", "fail", "move"),
    "Schedules": ("schedule",),
    "Queues": ("queues", "queue", "workers", "worker"),
    "Files": ("check", "graph", "export"),
    "Keep": ("history", "prune"),
    "Processes": ("engine", "lab"),
}
"""The commands as ``flowbook --help`` lists them."""


class Mistake(Exception):
    """What was typed makes no sense; ``usage`` says what would."""

    def __init__(self, usage: str, program: str, text: str) -> None:
        super().__init__(text)
        self.usage = usage
        self.program = program


class Parser(argparse.ArgumentParser):
    """Raises ``Mistake`` instead of leaving. ``groups`` orders the commands in its help."""

    def __init__(self, *, groups: dict[str, tuple[str, ...]] | None = None, **options: Any) -> None:
        super().__init__(formatter_class=Formatter, **options)
        self._groups = groups

    def error(self, message: str) -> NoReturn:
        """Part of argparse."""
        raise Mistake(self.format_usage(), self.prog, message)

    def unknown(self, extras: Sequence[str]) -> NoReturn:
        """Words that no command takes."""
        options = [flag for flag in self._option_string_actions if flag.startswith("--")]
        mistyped = [word.partition("=")[0] for word in extras if word.startswith("--")]
        hints = [_meant(word, options) for word in mistyped if word not in options]
        self.error(f"it takes no {' '.join(extras)}{next(filter(None, hints), '')}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            hint = _meant(str(value), known) or f"; it is one of: {', '.join(known)}"
            raise argparse.ArgumentError(action, f"there is no '{value}'{hint}")

    def format_help(self) -> str:
        """Part of argparse."""
        if self._groups is None:
            return super().format_help()
        commands = next(action for action in self._actions if isinstance(action, argparse._SubParsersAction))
        told = {action.dest: action.help or "" for action in commands._get_subactions()}
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        for title, names in self._groups.items():
            formatter.start_section(title)
            for name in names:
                formatter.add_argument(argparse.Action([], name, metavar=name, help=told[name]))
            formatter.end_section()
        formatter.start_section("Options")
        formatter.add_arguments(action for action in self._actions if action is not commands)
        formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()


class Formatter(argparse.HelpFormatter):
    """Text is wrapped to the terminal's width; examples stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(EXAMPLES):
            return "".join(indent + line for line in text.splitlines(keepends=True))
        return super()._fill_text(text, width, indent)


def _meant(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def examples(*lines: str) -> str:
    """The end of a help text."""
    return "\n".join([EXAMPLES, *(f"  {line}" for line in lines)])


def count(least: int) -> Callable[[str], int]:
    """An option's type: a whole number from ``least``."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"'{text}' has to be a whole number from {least}")
        return number

    return read


def length(text: str) -> float:
    """An option's type: a duration longer than none."""
    from flowbook.core.duration import seconds
    from flowbook.errors import UserError

    try:
        found = seconds(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not found:
        raise argparse.ArgumentTypeError("no time at all is too short")
    return found


def timeout(parser: argparse.ArgumentParser, what: str) -> None:
    """How long something that reads the history may take."""
    parser.add_argument(
        "--timeout", type=length, default=60.0, metavar="TIME", help=f"how long {what} may take (default: 60s)"
    )
