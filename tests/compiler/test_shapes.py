"""Cells of every shape compile, say the same when read back, and run; the cases are in cases/shapes.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from flowbook import compiler
from tests.compiler.pages import accepted, workflow
from tests.runtime.driver import Driver

PAGE = (Path(__file__).parent / "cases" / "shapes.md").read_text()
CASES = re.findall(r"^## (.+?)\n\n```notebook\n(.*?)```\n```gives\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_case_is_read() -> None:
    assert len(CASES) == PAGE.count("\n## ")


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_shape(text: str, expected: str) -> None:
    module = accepted(text)
    again = compiler.compile_module(module.source, module.name).module
    assert again is not None
    assert (again.steps, again.spans, again.workflows) == (module.steps, module.spans, module.workflows)
    result = Driver(workflow(module)).run()
    assert isinstance(result, dict), result
    assert json.loads(json.dumps(result)) == json.loads(expected)


@pytest.mark.parametrize("letter", ["\x0c", "\u2028", "\x85", "\v", "\x1c"])
def test_letters_that_look_like_line_ends_are_none(letter: str) -> None:
    text = f'#| step: a\nx = "a{letter}b"\ny = """\n{letter}\n%matplotlib inline\n"""\nfehler = 1'
    module = accepted(text)
    line = next(n for n, row in enumerate(module.source.split("\n"), 1) if "fehler = 1" in row)
    assert module.locate(line) == ("cell1", 7)
    assert Driver(workflow(module)).run() == {
        "x": f"a{letter}b",
        "y": f"\n{letter}\n%matplotlib inline\n",
        "fehler": 1,
    }


def test_line_ends_of_windows() -> None:
    assert Driver(workflow(accepted("#| step: a\r\nx = 1\r\ny = x\r\n"))).run() == {"x": 1, "y": 1}
