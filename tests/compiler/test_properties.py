"""Laws on notebooks nobody wrote: any text is judged without a crash; a workflow gives what the plain page gives."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowbook import compiler
from flowbook.compiler.annotations import KEYS, LATER
from flowbook.core import events as e
from tests.compiler.pages import accepted, notebook, workflow
from tests.runtime.driver import Driver

pytestmark = pytest.mark.slow

words = st.sampled_from([*KEYS, *LATER, "echo", "fig-cap", "retires", "", "x"])
values = st.sampled_from(
    [
        "",
        "a",
        "3",
        "-1",
        "0",
        "2s",
        "1s..9s x2",
        "rows as row",
        "x > 1",
        "x = 1",
        "(",
        "[a, b]",
        "{name: n}",
        "true",
        "signal go",
        "'quoted'",
        '"half',
        "5  # five",
        "a: b",
        "ä",
        "until: x  every: 2s",
        "class",
        "1st",
        "params",
    ]
)
colons = st.sampled_from([": ", ":", " : ", " ", "="])
openings = st.sampled_from(["#| ", "# | ", "#|", "#|   ", "#|\t", " #| ", "#| - "])
heads = st.builds("{}{}{}{}".format, openings, words, colons, values)
codes = st.sampled_from(
    [
        "",
        "x = 1",
        "x = rows",
        "rows = [1]",
        "def f():\n    return x",
        "return 1",
        "x = (",
        "%magic",
        "!ls",
        "import os",
        "x += 1",
        "del x",
        "'doc'",
        "x",
        "for row in rows:\n    x = row",
        "a, *b = rows",
        "x: int",
        "x: int = 2",
        "\tx = 1",
    ]
)
cells = st.builds(lambda head, code: "\n".join([*head, code]), st.lists(heads, max_size=4), st.one_of(codes, st.text()))


def page(sources: list[str]) -> dict[str, Any]:
    made = [{"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": text} for n, text in enumerate(sources)]
    return {"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@settings(max_examples=100)
@given(st.lists(cells, max_size=5))
def test_any_page_gives_a_module_or_says_why_not(sources: list[str]) -> None:
    result = compiler.compile_notebook(page(sources), "page")
    refused = compiler.has_errors(result.diagnostics)
    assert refused == (result.module is None)
    texts = {f"c{n}": text for n, text in enumerate(sources)}
    compiler.render(result.diagnostics, texts)
    for found in result.diagnostics:
        lines = texts.get(found.cell, "").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert found.message and found.code.startswith("FB")
        assert 1 <= found.line <= len(lines), found
        assert 1 <= found.column < max(2, found.end_column), found
    if result.module is not None:
        compile(result.module.source, "module", "exec")
        again = compiler.compile_module(result.module.source, result.module.name).module
        assert again is not None
        assert (again.digest, again.steps, again.spans) == (
            result.module.digest,
            result.module.steps,
            result.module.spans,
        )
        assert again.workflows == result.module.workflows


@settings(max_examples=100)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda s: (
            st.lists(s)
            | st.dictionaries(
                st.sampled_from(["cells", "cell_type", "source", "id", "metadata", "tags", "code", "x"]), s
            )
        ),
        max_leaves=12,
    )
)
def test_anything_but_a_notebook_gives_findings(broken: Any) -> None:
    result = compiler.compile_notebook(broken, "page")
    assert result.module is None and result.diagnostics


NAMES = ["a", "b", "c"]
name = st.sampled_from(NAMES)
atom = st.one_of(name, st.sampled_from(["n", "LIMIT"]), st.integers(0, 9).map(str), name.map("double({})".format))
value = st.one_of(
    atom,
    st.builds("{} + {}".format, atom, atom),
    st.builds("sum([i + {} for i in range({})])".format, atom, st.integers(0, 3)),
    st.builds("(lambda b: b + {})({})".format, atom, atom),
)
test = st.builds("{} {} {}".format, atom, st.sampled_from(["<", ">", "=="]), atom)


def indented(lines: list[str]) -> str:
    return textwrap.indent("\n".join(lines), "    ")


simple = st.one_of(
    st.builds("{} = {}".format, name, value),
    st.builds("{} += {}".format, name, value),
    st.builds("{}, {} = {}, {}".format, st.just("a"), st.just("b"), value, value),
    st.builds("_t = {}\n{} = _t".format, value, name),
    st.builds("({} := {})".format, name, value),
)
block = st.lists(simple, min_size=1, max_size=2).map(lambda lines: indented([x for s in lines for x in s.split("\n")]))
statement = st.one_of(
    simple,
    st.builds("if {}:\n{}".format, test, block),
    st.builds("if {}:\n{}\nelse:\n{}".format, test, block, block),
    st.builds("for i in range({}):\n{}".format, st.integers(0, 3), block),
    st.builds("while {}:\n{}\n    break\nelse:\n{}".format, test, block, block),
    st.builds("try:\n{}\nexcept ValueError as error:\n{}".format, block, block),
    st.builds("try:\n{}\nfinally:\n{}".format, block, block),
    st.builds("def local(b):\n    c = {}\n    return b + c\n{} = local({})".format, atom, name, atom),
    st.builds("class K:\n    k = {}\n{} = K.k".format, atom, name),
    st.builds("while True:\n{}\n    if {}:\n        break\n{}\n    break".format, block, test, block),
    st.builds(
        "match {}:\n    case 1:\n        {} = 2\n    case {}:\n        pass".format, atom, name, st.just("other")
    ),
)
steps = st.lists(statement, min_size=1, max_size=3).map("\n".join)
START = """#| params
n = 3
---
LIMIT = 4
def double(x):
    return x * 2
---
#| step: begin
a, b = n, LIMIT
---
"""


def plain(sources: list[str]) -> dict[str, Any]:
    """Top to bottom, without Flowbook."""
    space: dict[str, Any] = {}
    for source in sources:
        exec(source, space)
    return space


@settings(max_examples=100)
@given(st.lists(steps, min_size=1, max_size=4))
def test_a_workflow_gives_what_the_plain_notebook_gives(bodies: list[str]) -> None:
    text = START + "\n---\n".join(f"#| step: s{k}\n{body}" for k, body in enumerate(bodies))
    result = compiler.compile_notebook(notebook(text), "page")
    if compiler.has_errors(result.diagnostics) or any(found.code == "FB031" for found in result.diagnostics):
        return
    try:
        expected = plain([cell["source"] for cell in notebook(text)["cells"]])
    except (NameError, RecursionError):
        return
    driver = Driver(workflow(accepted(text)))
    found = driver.run()
    assert not isinstance(found, e.RunFailed), found.failure.text
    for known in NAMES:
        if known in found:
            assert found[known] == expected[known], (known, found, {k: expected[k] for k in NAMES if k in expected})
