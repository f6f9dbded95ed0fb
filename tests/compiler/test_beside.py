"""What lies beside a module is found, whoever imports it and however, and is part of what the module is."""

from __future__ import annotations

import pytest

from flowbook import compiler
from flowbook.compiler.beside import beside, imported, marks
from flowbook.core.module import Imported, Module

FILES = {
    "helper": Imported("helper", "import deep\nfrom pkg import part\n\ndef help(): return deep.x"),
    "deep": Imported("deep", "x = 1"),
    "pkg": Imported("pkg", "from .inner import y", package=True),
    "pkg.inner": Imported("pkg.inner", "from . import other\ny = 2"),
    "pkg.other": Imported("pkg.other", "import helper\nz = 3"),
    "pkg.part": Imported("pkg.part", "w = 4"),
    "broken": Imported("broken", "def ("),
    "unused": Imported("unused", "v = 5"),
}


@pytest.mark.parametrize(
    ("text", "package", "names"),
    [
        ("import a, b.c as d", "", {"a", "b", "b.c"}),
        ("from a.b import c, d", "", {"a", "a.b", "a.b.c", "a.b.d"}),
        ("from a import *", "", {"a"}),
        ("from . import x", "p.q", {"p", "p.q", "p.q.x"}),
        ("from ..y import z", "p.q", {"p", "p.y", "p.y.z"}),
        ("def f():\n    import late", "", {"late"}),
        ("def (", "", set()),
    ],
)
def test_all_that_may_be_a_module_is_named(text: str, package: str, names: set[str]) -> None:
    assert imported(text, package) == names


def test_what_is_imported_in_turn_belongs_to_it() -> None:
    found = beside("import helper, numpy, broken", FILES.get)
    assert [module.name for module in found] == [
        "broken",
        "deep",
        "helper",
        "pkg",
        "pkg.inner",
        "pkg.other",
        "pkg.part",
    ]


MAIN = """
import helper
from flowbook import step, workflow

@step
def uses(): return helper.help()

@step
def alone(): return 1

@workflow
async def flow():
    return await uses(), await alone()
"""


def compiled(files: dict[str, Imported]) -> Module:
    module = compiler.compile_module(MAIN, "main", find=files.get).module
    assert module is not None
    return module


def test_an_edit_beside_makes_another_module_and_touches_the_steps_that_use_it() -> None:
    before = compiled(FILES)
    after = compiled({**FILES, "deep": Imported("deep", "x = 2")})
    assert before.digest != after.digest
    assert before.steps["uses"] != after.steps["uses"]
    assert before.steps["alone"] == after.steps["alone"]


def test_a_comment_beside_touches_no_step() -> None:
    before = compiled(FILES)
    after = compiled({**FILES, "deep": Imported("deep", "# why\nx  =  1")})
    assert before.steps == after.steps


def test_marks_cover_all_that_is_imported_in_turn() -> None:
    before, after = marks(FILES.values()), marks({**FILES, "deep": Imported("deep", "x = 2")}.values())
    assert {name for name in before if before[name] != after[name]} == {
        *("deep", "helper", "pkg", "pkg.inner", "pkg.other", "pkg.part")
    }


def test_steps_and_workflows_beside_are_known() -> None:
    files = {
        "lib": Imported(
            "lib",
            "from flowbook import step, workflow\n\n"
            "@step\ndef far(): return 1\n\n@workflow\nasync def kid():\n    await far()\n",
        )
    }
    text = (
        "import lib\nfrom flowbook import workflow\n\n@workflow\nasync def flow():\n    return await lib.kid.start()\n"
    )
    module = compiler.compile_module(text, "main", find=files.get).module
    assert module is not None and "far" in module.steps
    assert [workflow.name for workflow in module.own] == ["flow"]
    assert [(workflow.name, workflow.beside) for workflow in module.workflows] == [("flow", ""), ("kid", "lib")]
