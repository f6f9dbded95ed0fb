"""What may be typed after ``flowbook schedule``."""

from __future__ import annotations

import argparse
import shlex

import pytest

from flowbook.cli import main, schedules
from flowbook.cli.parser import build, parse
from flowbook.cli.schedule_parser import OVERLAPS
from flowbook.core.schedule import OVERLAPS as KNOWN


def actions() -> dict[str, argparse.ArgumentParser]:
    return dict(_below(dict(_below(build()))["schedule"]))


def _below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (
            "set n nb.ipynb:flow --cron '0 3 * * *' --cron @daily --timezone Europe/Oslo -p a=1 --overlap buffer_all",
            {"name": "n", "file": "nb.ipynb:flow", "cron": ["0 3 * * *", "@daily"], "param": ["a=1"]},
        ),
        ("set n f.py --every 10m --jitter 30s --limit 3 --json", {"every": "10m", "limit": 3, "json": True}),
        ("list --json", {"json": True}),
        ("show n --next 20", {"name": "n", "next": 20}),
        ("pause n --reason holiday", {"reason": "holiday"}),
        ("resume n", {"name": "n"}),
        ("trigger n --overlap allow_all", {"overlap": "allow_all"}),
        ("backfill n --from 2026-01-01 --to 2026-01-02", {"start": "2026-01-01", "end": "2026-01-02", "overlap": ""}),
        ("delete n", {"name": "n"}),
    ],
)
def test_it_is_understood(typed: str, expected: dict[str, object]) -> None:
    options = vars(parse(["schedule", *shlex.split(typed)]))
    assert {key: options[key] for key in expected} == expected
    assert callable(getattr(schedules, f"{typed.split()[0]}_schedule"))


@pytest.mark.parametrize("typed", ["", "fly", "set n", "show", "backfill n", "trigger n --overlap never"])
def test_nonsense_leaves_with_2(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["schedule", *typed.split()])
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage:")


@pytest.mark.parametrize("name", sorted(actions()))
def test_help_has_examples_that_can_be_typed(name: str) -> None:
    parser = actions()[name]
    lines = [line.strip() for line in (parser.epilog or "").splitlines() if "flowbook schedule" in line]
    assert lines
    for line in lines:
        options = parse(shlex.split(line)[1:])
        assert callable(options.command)


def test_the_policies_are_those_there_are() -> None:
    assert OVERLAPS == KNOWN
