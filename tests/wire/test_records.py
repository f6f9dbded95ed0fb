"""People's own data classes: written as what they are, read as the class that the reader has."""

from __future__ import annotations

import dataclasses
import enum
import json
import typing
from types import ModuleType
from typing import Any

import attrs
import msgspec
import pydantic
import pytest

from flowbook.core.ids import Digest
from flowbook.core.value import shown
from flowbook.errors import FlowbookError
from flowbook.wire import codec
from flowbook.wire.classes import IMPORTABLE


@dataclasses.dataclass
class Item:
    name: str
    count: int = 1
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    item: Item
    seen: bool = False


class Colour(enum.Enum):
    RED = "red"
    BLUE = ("blue", 2)


class Level(enum.IntEnum):
    LOW = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Point(typing.NamedTuple):
    x: int
    y: int = 0


class Struct(msgspec.Struct, frozen=True):
    item: Item
    level: Level = Level.LOW


@attrs.define
class Attrs:
    a: int
    b: Any = None


class Model(pydantic.BaseModel):
    name: str
    items: list[Item] = []


@dataclasses.dataclass
class WithState:
    name: str

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "more": 1}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.name = state["name"]


class Plain:
    def __init__(self, v: int) -> None:
        self.v = v

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and other.v == self.v


FILES: dict[str, bytes] = {}


def save(data: bytes) -> Digest:
    digest = Digest(str(len(FILES)))
    FILES[digest] = data
    return digest


def again(value: Any, classes: Any = IMPORTABLE) -> Any:
    return codec.decode(codec.encode(value, save), FILES.__getitem__, classes=classes)


VALUES = [
    Item("a", 2, ["x"]),
    Frozen(Item("b")),
    Colour.RED,
    Colour.BLUE,
    Level.LOW,
    Rights.READ | Rights.WRITE,
    Point(1, 2),
    Struct(Item("c")),
    Attrs(1, Point(3)),
    Model(name="m", items=[Item("d")]),
    [Item("e"), {"k": (Colour.RED, Point(1))}],
    {Colour.RED: Item("f")},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_record_is_json_and_comes_back_as_its_class(value: Any) -> None:
    encoded = codec.encode(value, save)
    assert encoded.codec == "json"
    assert again(value) == value and type(again(value)) is type(value)


def test_people_see_the_fields() -> None:
    assert shown(codec.encode([Item("a"), Colour.RED, Point(1, 2)], save)) == [
        {"name": "a", "count": 1, "tags": []},
        "red",
        [1, 2],
    ]
    assert codec.encode(Item("a"), save).type.endswith("Item")


def test_a_class_that_says_how_it_is_saved_is_pickled() -> None:
    assert codec.encode(WithState("a"), save).codec == "pickle"
    assert again(WithState("a")).name == "a"
    grown = Item("a")
    grown.more = 5  # type: ignore[attr-defined]
    assert codec.encode(grown, save).codec == "pickle" and again(grown).more == 5


class Renamed:
    """Another process: its classes have the same names and are others."""

    def __init__(self, **classes: Any) -> None:
        self.module = ModuleType("elsewhere")
        vars(self.module).update(classes)

    def find(self, module: str, name: str) -> Any:
        try:
            return getattr(self.module, name)
        except AttributeError as error:
            raise LookupError(str(error)) from error

    def name(self, thing: Any) -> tuple[str, str]:
        return "elsewhere", thing.__qualname__


@dataclasses.dataclass
class Newer:
    name: str
    count: int = 1
    tags: list[str] = dataclasses.field(default_factory=list)
    price: float = 9.5


def test_the_reader_has_its_own_class_and_fields_it_has_got_since_have_their_defaults() -> None:
    encoded = codec.encode(Item("a", 3), save)
    read = codec.decode(encoded, FILES.__getitem__, classes=Renamed(Item=Newer))
    assert read == Newer("a", 3, [], 9.5)


@pytest.mark.parametrize("value", [Item("a"), Colour.RED, Plain(3)])
def test_a_class_that_is_not_there_is_named(value: Any) -> None:
    encoded = codec.encode(value, save, classes=Renamed())
    with pytest.raises(FlowbookError, match=f"{type(value).__name__}.*not to be found"):
        codec.decode(encoded, FILES.__getitem__, classes=Renamed())


def test_a_name_that_is_no_data_class_makes_nothing() -> None:
    """A history may come from anywhere: naming a function does not call it."""
    body = json.dumps({"$record": ["os:system", {"command": "true"}]}).encode()
    encoded = msgspec.structs.replace(codec.encode(Item("a"), save), data=msgspec.Raw(body))
    with pytest.raises(FlowbookError, match="no data class"):
        codec.decode(encoded, FILES.__getitem__)


def test_a_pickle_names_the_classes_it_is_of() -> None:
    classes = Renamed(Plain=Plain)
    encoded = codec.encode({"p": Plain(4)}, save, classes=classes)
    assert encoded.codec == "pickle"
    assert codec.decode(encoded, FILES.__getitem__, classes=classes) == {"p": Plain(4)}
    with pytest.raises(FlowbookError, match="owner"):
        codec.decode(encoded, FILES.__getitem__, pickles=False)
