"""Arguments as the annotations say, or a sentence about the one that does not fit."""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass
from typing import Any

import pytest

from flowbook.core import events as e
from flowbook.errors import UserError
from flowbook.runtime.typed import converted
from tests.runtime.driver import Driver


@dataclass
class Order:
    id: str
    total: float = 0.0


class Colour(enum.Enum):
    RED = "red"


class Own:
    pass


def flow(
    order: Order | None = None,
    day: datetime.date = datetime.date(2026, 1, 1),
    colour: Colour = Colour.RED,
    counts: dict[str, int] | None = None,
    pair: tuple[int, int] = (0, 0),
    own: Own | None = None,
    anything: Any = None,
    free=None,
) -> None: ...


OWN = Own()

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a dataclass": ({"order": {"id": "a", "total": 3}}, {"order": Order("a", 3.0)}),
    "one that is one already": ({"order": Order("b")}, {"order": Order("b")}),
    "a date": ({"day": "2026-11-23"}, {"day": datetime.date(2026, 11, 23)}),
    "an enum": ({"colour": "red"}, {"colour": Colour.RED}),
    "what fits as it is": ({"counts": {"a": 1}}, {"counts": {"a": 1}}),
    "a tuple from a list": ({"pair": [1, 2]}, {"pair": (1, 2)}),
    "a class of one's own": ({"own": OWN}, {"own": OWN}),
    "nothing said": ({"anything": {"x": 1}, "free": 2}, {"anything": {"x": 1}, "free": 2}),
    "none": ({"order": None}, {"order": None}),
}


@pytest.mark.parametrize("case", CASES)
def test_arguments_are_converted(case: str) -> None:
    given, expected = CASES[case]
    assert converted("flow", flow, given) == expected


@pytest.mark.parametrize(
    "given", [{"order": {"total": 1}}, {"day": "yesterday"}, {"colour": "blue"}, {"counts": {"a": "x"}}]
)
def test_what_does_not_fit_is_named(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(UserError, match=f"flow: '{name}' must be"):
        converted("flow", flow, given)


async def total(order: Order) -> float:
    return order.total


def test_a_workflow_gets_what_it_asks_for() -> None:
    assert Driver(total, {"id": "a", "total": 4}).run() == 4.0


def test_a_workflow_given_something_else_fails_with_a_sentence() -> None:
    ended = Driver(total, {"id": 1}).run()
    assert isinstance(ended, e.RunFailed) and "'order' must be Order" in ended.failure.message
