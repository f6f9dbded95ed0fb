"""Laws of the compiler: what is true of every notebook, shown on pages that use everything."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowbook import compiler
from tests.compiler.pages import accepted, notebook

ROOT = Path(__file__).parents[2]

EVERYTHING = '''
> # A page with everything
---
#| params
region: str = "eu"
many = 2
---
from __future__ import annotations
import json

LIMIT = 3

def double(x):
    """Twice."""
    return helper(x)

def helper(x):
    return x * 2
---
> Load the "rows".

It's \\ one """paragraph""" and more.
---
#| step: load
#| retries: 3
#| backoff: 500ms..4s x3
#| timeout: 10s
#| undo: forget
# a comment first

rows = [1, 2, 3]
text = """one
  two
three"""

note = f"""{region}
{many}"""  # behind
rows, \\
    text
# a comment last
---
scratch = 1
---
#| step: price
#| map: rows as row
#| concurrency: 2
price = double(row) * many
---
#| step
#| when: sum(price) > LIMIT
total = sum(price)

(total
 + 1)
---
#| step: poll
#| loop:
#|   until: done and rounds > 2
#|   every: 2s
#|   timeout: 1m
#|   max: 9
rounds = total or 0
done = True;
---
#| step: ask
#| wait: approval
#| timeout: 24h
approval = False
---
#| step: hear
#| wait: signal word
#| needs: poll
---
#| step: remind
#| wait: 2h
#| needs: load
print(word)
---
#| step: publish
#| wait: go
#| when: approval
if go:
    published = word
else:
    published = None
---
#| step: fix
#| when: published is None
published = "late"
---
#| step: read
import math
answer = await_ = math.floor(2.5), published
---
#| step: forget
#| retries: 2
gone = len(rows or [])
'''

SAMPLES = sorted((ROOT / "sample_notebooks").glob("*.ipynb"))
PAGES: list[Any] = [
    pytest.param(notebook(EVERYTHING), id="everything"),
    *(pytest.param(json.loads(path.read_text()), id=path.stem) for path in SAMPLES),
]


def compiled(page: dict[str, Any]) -> Any:
    result = compiler.compile_notebook(page, "page", origin="page.ipynb")
    errors = [d for d in result.diagnostics if d.severity == "error"]
    assert not errors, compiler.render(errors, {})
    assert result.module is not None
    return result.module


def read_back(module: Any) -> Any:
    result = compiler.compile_module(module.source, module.name)
    assert result.module is not None and not [d for d in result.diagnostics if d.severity == "error"]
    return result.module


@pytest.mark.parametrize("page", PAGES)
def test_the_text_says_everything_the_notebook_did(page: dict[str, Any]) -> None:
    module = compiled(page)
    again = read_back(module)
    assert again.digest == module.digest
    assert again.steps == module.steps
    assert again.spans == module.spans
    assert [(c.id, c.number, c.step) for c in again.cells] == [(c.id, c.number, c.step) for c in module.cells]
    assert again.workflows == module.workflows


@pytest.mark.parametrize("page", PAGES)
def test_compiling_twice_gives_the_same(page: dict[str, Any]) -> None:
    assert compiled(page) == compiled(json.loads(json.dumps(page)))


@pytest.mark.parametrize("page", PAGES)
def test_every_line_of_a_step_maps_back_to_its_cell(page: dict[str, Any]) -> None:
    module = compiled(page)
    lines = module.source.splitlines()
    texts = {
        cell["id"]: cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
        for cell in page["cells"]
    }
    mapped: dict[str, set[int]] = {}
    for number, line in enumerate(lines, 1):
        place = module.locate(number)
        if place is None:
            continue
        cell, cell_line = place
        if re.match(r"    (.* = )?\w+(\.\w+\(.*\))*\.(start|map)\(", line):
            assert cell_line == 1, "a line of the workflow leads to the top of its step's cell"
            continue
        mapped.setdefault(cell, set()).add(cell_line)
        original = texts[cell].splitlines()[cell_line - 1].strip()
        assert original in line or _without_display(line) == original or original.startswith("from __future__"), line
    for cell in module.cells:
        if not cell.step or cell.step == "params":
            continue
        body = [
            number
            for number, line in enumerate(texts[cell.id].splitlines(), 1)
            if line.strip() and not re.match(r"#\s*\|", line)
        ]
        assert set(body) <= mapped.get(cell.id, set()), cell.step


def _without_display(line: str) -> str:
    return re.sub(r"\bdisplay\(", "", line).strip().removesuffix(")")


@pytest.mark.parametrize("page", PAGES)
def test_the_generated_text_is_ordinary_python(page: dict[str, Any]) -> None:
    module = compiled(page)
    compile(module.source, "module", "exec")
    assert module.source.endswith("\n") and not module.source.endswith("\n\n")
    assert "\t" not in module.source


@pytest.mark.parametrize("page", PAGES)
def test_the_graph_is_whole(page: dict[str, Any]) -> None:
    module = compiled(page)
    (workflow,) = module.workflows
    ids = [node.id for node in workflow.graph.nodes]
    assert len(ids) == len(set(ids))
    numbers = {cell.id: cell.number for cell in module.cells}
    for edge in workflow.graph.edges:
        assert edge.source in ids and edge.target in ids and edge.source != edge.target
        assert bool(edge.names) == (edge.kind == "data")
    for node in workflow.graph.nodes:
        assert node.cell in numbers and node.cell_number == numbers[node.cell]
        assert node.kind == "params" or node.id in module.steps or node.kind == "wait"
        if node.line:
            place = module.locate(node.line)
            assert place is not None and place[0] == node.cell
    assert msgspec.json.decode(msgspec.json.encode(module), type=type(module)) == module


def test_layout_and_comments_do_not_change_a_steps_digest() -> None:
    before = accepted("def helper(x):\n    return x\n---\n#| step: a\nx = helper(1)\ny = [x,  2]")
    after = accepted(
        "def helper( x ):\n    '''Doc.'''\n    # same\n    return (x)\n---\nother = 3\n---\n> Prose.\n---\n"
        "#| step: a\n#| retries: 3\n\n# a comment\nx = helper( 1 )\ny = [\n    x,\n    2,\n]\n"
    )
    assert before.steps == after.steps
    assert before.digest != after.digest


def test_what_a_step_uses_changes_its_digest_and_only_its() -> None:
    page = """
import math
---
def inner(x):
    return x + {one}

def outer(x):
    return inner(x)

LIMIT = {limit}
---
#| step: a
a = outer(1)
---
#| step: b
b = LIMIT
---
#| step: c
c = math.floor({number})
"""
    first = accepted(page.format(one=1, limit=2, number=3)).steps
    for change, step in (({"one": 2}, "a"), ({"limit": 3}, "b"), ({"number": 4}, "c")):
        other = accepted(page.format(**{"one": 1, "limit": 2, "number": 3, **change})).steps
        assert {name for name in first if first[name] != other[name]} == {step}


def test_a_spelling_of_the_annotation_does_not_matter() -> None:
    one = accepted("#| step: poll\n#| loop:\n#|   until: n > 2\n#|   every: 2s\nn = 3")
    two = accepted("# | step: poll\n# | until: n > 2  every: 2s\nn = 3")
    assert one.steps == two.steps
    assert [msgspec.structs.replace(n, line=0) for n in one.workflows[0].graph.nodes] == [
        msgspec.structs.replace(n, line=0) for n in two.workflows[0].graph.nodes
    ]
