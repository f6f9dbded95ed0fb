"""What may be typed, and what happens when it makes no sense."""

from __future__ import annotations

import argparse
import json
import shlex

import pytest

from flowbook.cli import main
from flowbook.cli.helping import EXAMPLES, GROUPS
from flowbook.cli.parser import build, parse


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (
            "run nb.ipynb:flow -p a=1 -p b=two --id x --detach --json",
            {"file": "nb.ipynb:flow", "param": ["a=1", "b=two"], "id": "x", "detach": True, "json": True},
        ),
        ("runs", {"limit": 20, "status": "", "json": False}),
        ("show r1 --json", {"run": "r1", "json": True}),
        ("watch r1", {"run": "r1"}),
        ("at r1 17", {"run": "r1", "event": 17}),
        ("signal r1 approval true", {"run": "r1", "name": "approval", "value": "true"}),
        ("signal r1 approval", {"value": "null"}),
        ("cancel r1", {"run": "r1"}),
        ("fork r1 --at 4 --plan", {"at": 4, "step": None, "plan": True}),
        ("fork r1 --step clean --file nb.ipynb", {"at": None, "step": "clean", "file": "nb.ipynb"}),
        ("check nb.ipynb --json", {"file": "nb.ipynb", "json": True}),
        ("graph nb.ipynb --format svg", {"format": "svg", "output": "-"}),
        ("export nb.ipynb -o mod.py", {"output": "mod.py"}),
        ("sql 'select 1'", {}),
        ("engine status --json", {"action": "status", "json": True}),
        ("worker", {"queue": []}),
        ("lab nb.ipynb -- --no-browser", {"file": "nb.ipynb", "arguments": ["--no-browser"]}),
    ],
)
def test_commands_of_the_contract(typed: str, expected: dict[str, object]) -> None:
    options = vars(parse(shlex.split(typed)))
    assert {key: options[key] for key in expected} == expected
    assert callable(options["command"])


@pytest.mark.parametrize("typed", ["", "fly", "run", "at r1 first", "fork r1 --at 1 --step x", "graph f --format png"])
def test_nonsense_leaves_with_2(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(typed.split())
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage:")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("run", "runs", "fork", "export", "engine", "lab", "examples:"))
    assert build().prog == "flowbook"


def parsers(
    parser: argparse.ArgumentParser | None = None, name: str = "flowbook"
) -> dict[str, argparse.ArgumentParser]:
    """Every command and what is below it, by what one types."""
    parser = parser or build()
    found = {name: parser}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                found |= parsers(below, f"{name} {word}")
    return found


@pytest.mark.parametrize("name", sorted(parsers()))
def test_every_help_has_examples_that_can_be_typed_and_is_as_wide_as_the_terminal(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = parsers()[name]
    lines = [line.strip() for line in (parser.epilog or "").splitlines() if line.strip().startswith("flowbook")]
    assert lines
    for line in lines:
        assert callable(parse(shlex.split(line.partition(" | ")[0])[1:]).command)
    monkeypatch.setenv("COLUMNS", "60")
    told, _, _ = parser.format_help().partition(EXAMPLES)
    assert all(len(line) <= 60 or " " not in line.strip() for line in told.splitlines() if "{" not in line)


def test_every_command_has_its_place_in_the_help() -> None:
    commands = {name.split()[1] for name in parsers() if name.count(" ") == 1}
    listed = [name for names in GROUPS.values() for name in names]
    assert len(listed) == len(set(listed)) and set(listed) == commands


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("rnus", "did you mean 'runs'?"),
        ("schedule pasue x", "did you mean 'pause'?"),
        ("runs --status fialed", "did you mean 'failed'?"),
        ("runs --limt 3", "did you mean '--limit'?"),
        ("prune --status running", "it is one of: succeeded, failed"),
        ("runs --limit 0", "'0' has to be a whole number from 1"),
        ("runs --limit -1", "'-1' has to be a whole number from 1"),
        ("sql q --limit 0", "'0' has to be a whole number from 1"),
        ("sql q --timeout 0", "too short"),
        ("sql q --timeout soon", "not a duration"),
        ("schedule show x --next 0", "'0' has to be a whole number from 1"),
        ("history show x --after -2", "'-2' has to be a whole number from 0"),
    ],
)
def test_a_mistake_is_answered_with_what_was_meant(typed: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ((), ("--json",)):
        with pytest.raises(SystemExit) as left:
            main([*typed.split(), *more])
        shown = capsys.readouterr()
        assert left.value.code == 2 and said in shown.err
        assert (json.loads(shown.out)["error"]["type"] == "UserError") if more else not shown.out
