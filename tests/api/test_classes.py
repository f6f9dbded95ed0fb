"""The classes of a run's values are those this process has, where it has them."""

from __future__ import annotations

import dataclasses
import sys
from types import ModuleType

import pytest

from flowbook.api.classes import OfRun
from flowbook.core.ids import Digest
from flowbook.core.module import Module
from flowbook.wire.classes import OWN

SOURCE = "import dataclasses\n\n@dataclasses.dataclass\nclass Item:\n    n: int\n\nclass Other: ...\n"


@dataclasses.dataclass
class Item:
    n: int


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Somebody has imported the file."""
    made = ModuleType("shop.flows")
    made.__file__ = "/somewhere/flows.py"
    monkeypatch.setitem(sys.modules, "shop.flows", made)
    exec(SOURCE, made.__dict__)
    return made


def of(digest: str, origin: str) -> OfRun:
    return OfRun(lambda: Module(Digest(digest), "flows", SOURCE, origin=origin))


def test_a_class_of_the_same_file_is_the_runs_own(module: ModuleType) -> None:
    classes = of("a1", "/somewhere/flows.py")
    assert classes.name(module.Item) == (OWN, "Item")
    assert classes.find(OWN, "Item") is module.Item
    assert classes.find("shop.flows", "Item") is module.Item


def test_a_class_of_another_file_is_its_modules(module: ModuleType) -> None:
    classes = of("a2", "/elsewhere/flows.py")
    assert classes.name(module.Item) == ("shop.flows", "Item")
    assert classes.name(Item) == (__name__, "Item")


def test_where_nobody_has_imported_it_the_pinned_code_is_loaded() -> None:
    classes = of("a3", "/nowhere/flows.py")
    found = classes.find(OWN, "Item")
    assert found(3).n == 3 and found is classes.find(OWN, "Item")
    with pytest.raises(LookupError):
        classes.find(OWN, "Nothing")


def test_a_notebooks_class_is_in_main(monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(SOURCE, main.__dict__)
    classes = of("a4", "/somewhere/page.ipynb")
    assert classes.find(OWN, "Item") is main.Item
    main.Item.__module__ = "__main__"
    assert classes.name(main.Item) == (OWN, "Item")


def test_a_class_that_the_pinned_code_does_not_define_is_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    exec("class Scratch: ...", main.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", main)
    main.Scratch.__module__ = "__main__"
    assert of("a5", "/somewhere/page.ipynb").name(main.Scratch) is None
