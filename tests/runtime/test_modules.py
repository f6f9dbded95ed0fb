"""Pinned modules: each digest has code of its own, with what it imports from beside it."""

from __future__ import annotations

import hashlib
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from flowbook import compiler
from flowbook.core import events as e
from flowbook.core.module import Imported, Module
from flowbook.errors import UserError
from flowbook.runtime import modules
from flowbook.wire import codec
from flowbook.wire.classes import IMPORTABLE
from tests.runtime.driver import Driver, load, save


def imported(name: str, source: str, package: bool = False) -> Imported:
    return Imported(name, textwrap.dedent(source), f"/somewhere/{name}.py", package)


def made(main: str, *others: Imported, name: str = "main") -> Module:
    found = {other.name: other for other in others}
    module = compiler.compile_module(textwrap.dedent(main), name, find=found.get).module
    assert module is not None
    return module


MAIN = """
    from dataclasses import dataclass
    import helper
    from helper import Box, twice
    import pkg.inner as inner
    from pkg import shared
    from flowbook import workflow

    @dataclass
    class Own:
        n: int

    @workflow
    async def flow():
        return [helper.FACTOR, inner.place(), shared, (await twice(Box(3))).n]
"""
HELPER = """
    import dataclasses
    from flowbook import step

    FACTOR = {factor}

    @dataclasses.dataclass
    class Box:
        n: int

    class Plain:
        pass

    @step
    def twice(box):
        assert isinstance(box, Box)
        return Box(box.n * 2 * FACTOR)
"""
PKG = (
    imported("pkg", "from .inner import shared", package=True),
    imported("pkg.inner", "shared = 'shared'\n\ndef place():\n    return __file__"),
)


def loaded(factor: int) -> modules.LoadedModule:
    return modules.load(made(MAIN, imported("helper", HELPER.format(factor=factor)), *PKG))


def run(module: modules.LoadedModule, *, evict: bool = False) -> Any:
    return Driver(module.workflow("flow"), module=module, evict=evict).run()


def test_each_digest_has_its_own_code_beside_it() -> None:
    first, second = loaded(1), loaded(10)
    assert first.namespace.helper.FACTOR == 1 and second.namespace.helper.FACTOR == 10
    assert first.namespace.Box is not second.namespace.Box
    assert "helper" not in sys.modules and "pkg" not in sys.modules
    assert [run(module, evict=evict) for evict in (False, True) for module in (first, second)] == [
        [1, "/somewhere/pkg.inner.py", "shared", 6],
        [10, "/somewhere/pkg.inner.py", "shared", 60],
    ] * 2


def test_what_is_beside_is_imported_in_every_way() -> None:
    module = loaded(1)
    assert module.namespace.inner.place() == "/somewhere/pkg.inner.py"
    assert module.namespace.shared == "shared"


def test_an_import_that_is_not_there_is_called_what_people_call_it() -> None:
    helper = imported("helper", "import pkg.nothing")
    with pytest.raises(ModuleNotFoundError, match=r"'pkg[.]nothing' beside this run's code"):
        modules.load(made("import helper\n" + MINIMAL, helper, *PKG))


MINIMAL = "from flowbook import workflow\n\n@workflow\nasync def flow():\n    return 1\n"


def test_what_fails_to_load_leaves_nothing_and_can_be_loaded_again() -> None:
    module = made("import helper\nraise ValueError('no')\n" + MINIMAL, imported("helper", "x = 1"))
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            modules.load(module)
    assert not [name for name in sys.modules if module.digest in name]


def test_modules_that_need_each_other_find_the_pinned_ones() -> None:
    helper = imported("helper", "import main\n\ndef seen():\n    return main.VALUE")
    module = modules.load(made("import helper\nVALUE = 7\n" + MINIMAL, helper))
    assert module.namespace.helper.seen() == 7


def test_values_find_the_class_of_the_code_that_reads_them() -> None:
    first, second = loaded(1), loaded(10)
    for name in ("Own", "Box"):
        kind, other = getattr(first.namespace, name), getattr(second.namespace, name)
        encoded = codec.encode(kind(5), save, classes=first)
        read = codec.decode(encoded, load, classes=second)
        assert type(read) is other and read.n == 5
    plain = codec.encode(first.namespace.helper.Plain(), save, classes=first)
    assert type(codec.decode(plain, load, classes=second)) is second.namespace.helper.Plain


def test_names_that_people_gave_are_those_of_values() -> None:
    module = loaded(1)
    assert module.name(module.namespace.Own) == (".", "Own")
    assert module.name(module.namespace.Box) == ("helper", "Box")
    assert module.name(Path) == IMPORTABLE.name(Path) == ("pathlib", "Path")
    assert codec.type_name(module.namespace.Own(1)) == "Own"


def test_a_value_of_the_file_as_somebody_imported_it_is_one_of_the_pinned_code() -> None:
    module = loaded(1)
    assert module.find("main", "Own") is module.namespace.Own
    assert module.find("__main__", "Own") is module.namespace.Own
    assert module.find("helper", "Box") is module.namespace.Box
    with pytest.raises(LookupError):
        module.find(".", "Nothing")


def test_a_workflow_beside_is_found_by_name() -> None:
    lib = imported("lib", MINIMAL.replace("def flow", "def kid"))
    module = modules.load(made("import lib\n" + MINIMAL, lib))
    assert module.workflow("kid") is module.namespace.lib.kid
    with pytest.raises(UserError, match="was it renamed"):
        module.workflow("gone")


def test_a_child_is_the_very_workflow_that_was_named() -> None:
    kid = "from flowbook import workflow\n\n@workflow\nasync def kid():\n    return '{}'\n"
    lib = imported("lib", kid.format("lib"))
    text = f"import lib\n{kid.format('own')}\n\n@workflow\nasync def flow():\n    return await lib.kid.start()\n"
    module = modules.load(made(text, lib))
    ended = run(module)
    assert isinstance(ended, e.RunFailed) and "two workflows are called 'kid'" in ended.failure.message


def test_a_digest_is_loaded_once() -> None:
    assert loaded(1) is loaded(1)
    digest = hashlib.blake2b(b"x", digest_size=16).hexdigest()
    assert modules.loaded(digest) is None  # type: ignore[arg-type]
