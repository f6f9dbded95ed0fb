"""What may be typed, and what happens when it makes no sense."""

from __future__ import annotations

import shlex

import pytest

from flowbook.cli import main
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
