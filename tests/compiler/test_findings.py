"""What is found in notebooks, case by case; the cases are in cases/findings.md, for people to read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flowbook import compiler
from tests.compiler.pages import compiled, findings, sources

PAGE = (Path(__file__).parent / "cases" / "findings.md").read_text()
CASES = re.findall(r"^## (.+?)\n\n```notebook\n(.*?)```\n```findings\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_case_is_read() -> None:
    assert len(CASES) == PAGE.count("\n## ")


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_findings(text: str, expected: str) -> None:
    assert findings(text) == expected.splitlines()


@pytest.mark.parametrize("text", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_findings_say_what_to_do_and_lie_in_their_cell(text: str) -> None:
    texts = sources(text)
    for found in compiled(text).diagnostics:
        lines = texts[found.cell].splitlines()
        assert found.message and found.fix, found
        assert 1 <= found.line <= len(lines)
        assert 1 <= found.column < found.end_column <= len(lines[found.line - 1]) + 2
    rendered = compiler.render(compiled(text).diagnostics, texts)
    assert rendered.count("-->") == len(compiled(text).diagnostics)


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        "text",
        {},
        {"cells": None},
        {"cells": {}},
        {"cells": [None, 1, "x", []]},
        {"cells": [{"cell_type": "code"}]},
        {"cells": [{"cell_type": "code", "source": 3}]},
        {"cells": [{"cell_type": "code", "source": [1, 2], "id": 7}]},
        {"cells": [{"cell_type": "code", "source": "#| step: a\nx = 1", "metadata": None}]},
        {"cells": [{"cell_type": "code", "source": "#| step: a\nx = 1", "metadata": {"tags": 5}}]},
        {"cells": [{"cell_type": "code", "source": "#| step: a\nx = '\x00'"}]},
        {"cells": [{"cell_type": "code", "source": "#| step: a\nx = '\ud800'"}]},
        {"cells": [{"cell_type": "code", "source": "#| step:\n#|\n#| :\n#| - a\n#|   b: c"}]},
        {"cells": [{"cell_type": "code", "source": "#| step: a\n" + "(" * 300}]},
        {"cells": [{"cell_type": "code", "source": "#| step: a\nx = " + "-" * 9000 + "1"}]},
        {"worksheets": []},
    ],
    ids=range(18),
)
def test_broken_notebooks_give_findings(broken: Any) -> None:
    result = compiler.compile_notebook(broken, "broken")
    assert result.module is not None or result.diagnostics


def test_a_fix_that_is_an_edit_mends_the_cell() -> None:
    text = "#| step: load\n#| retires: 5\nrows = 1"
    (found,) = compiled(text).diagnostics
    lines = text.splitlines()
    for edit in found.edits:
        line = lines[edit.line - 1]
        lines[edit.line - 1] = line[: edit.column - 1] + edit.text + line[edit.end_column - 1 :]
    assert findings("\n".join(lines)) == []


@pytest.mark.parametrize("line", ["timeout: 0s", "heartbeat: 0", "backoff: 1s x0.5", "backoff: 1s..5s xinf"])
def test_a_limit_or_a_pause_that_a_step_could_not_have_is_found_before_it_runs(line: str) -> None:
    (found,) = compiled(f"#| step: load\n#| retries: 2\n#| {line}\nrows = 1").diagnostics
    assert (found.code, found.line) == ("FB011", 3) and line.partition(": ")[2] in found.message
