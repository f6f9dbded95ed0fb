"""Arguments of ``start`` that do not fit the workflow's annotations are refused before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from flowbook import workflow
from flowbook.errors import UserError
from tests.cli.fake import FakeClient


@dataclass
class Item:
    """What is bought."""

    name: str
    count: int = 1


@workflow
async def buy(item: Item, sizes: list[int] | None = None) -> str:
    """Buys."""
    return item.name


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"item": {"name": 3}}, "'item' must be Item, not .*Expected `str`, got `int`"),
        ({"item": {"count": 3}}, "'item' must be Item, not .*missing required field `name`"),
        ({"item": Item("nut"), "sizes": ["big"]}, "'sizes' must be .*Expected `int`, got `str`"),
    ],
)
def test_what_does_not_fit_is_refused(client: FakeClient, given: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        buy.start(**given)
    assert client.said == []
