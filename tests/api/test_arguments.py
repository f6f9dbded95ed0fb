"""Parameters typed in a shell, and arguments given in Python."""

from __future__ import annotations

from typing import Any

import pytest

from flowbook.api.arguments import checked, from_texts, read_params
from flowbook.core.ids import Digest
from flowbook.core.module import Module, Workflow
from flowbook.errors import UserError

SOURCE = """
import uuid
import datetime as dt
from datetime import date
from typing import Any, Literal, Optional

from datetime import time as Own

class Own:
    pass
"""
MODULE = Module(Digest("m"), "shop", SOURCE)


def takes(**parameters: str) -> Workflow:
    """A workflow; each text is ``annotation`` or ``annotation = default``."""
    made: list[dict[str, object]] = []
    for name, text in parameters.items():
        annotation, _, default = (part.strip() for part in text.partition("="))
        made.append({"name": name, "annotation": annotation, "default": default or None})
    return Workflow("shop", parameters=tuple(made))


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        ("int = 1", "3", 3),
        ("float = 1.0", "3", 3),
        ("str = ''", "3", "3"),
        ("str = ''", "eu-1", "eu-1"),
        ("bool = True", "false", False),
        ("list[str] = []", '["a", "b"]', ["a", "b"]),
        ("str | None = None", "null", None),
        ("", "2026-01-01", "2026-01-01"),
        ("", "12", 12),
        ("Region", "eu-1", "eu-1"),
        ("list[int]", "[1, 2]", [1, 2]),
        ("date", "2026-11-23", "2026-11-23"),
        ("date | None = None", "null", None),
        ("dt.timedelta", "P1D", "P1D"),
        ('Literal["1", "2"]', "1", "1"),
        ("Optional[list[str]]", '["a"]', ["a"]),
        ("list[Region]", '["eu-1"]', ["eu-1"]),
        ("Own", "soon", "soon"),
        ("uuid", "soon", "soon"),
        ("list[1 + 1]", "[3]", [3]),
        ("date.today", "soon", "soon"),
    ],
)
def test_texts_become_values(declared: str, text: str, value: Any) -> None:
    assert from_texts(MODULE, takes(x=declared), {"x": text}) == {"x": value}


@pytest.mark.parametrize(
    ("declared", "text", "says"),
    [
        ("list[int]", '["a"]', r"shop: 'x' must be list\[int\], not list \['a'\] \(Expected `int`, got `str`"),
        ("dict[str, float]", '{"a": "b"}', "'x' must be dict"),
        ("date", "soon", r"'x' must be date, not str 'soon' \(Invalid RFC3339"),
        ("date", "2026", "'x' must be date, not int 2026"),
        ('Literal["fast", "slow"]', "quick", "'x' must be .*Invalid enum value 'quick'"),
        ("Optional[int]", "many", "'x' must be"),
        ("date | None", "3", "'x' must be"),
    ],
)
def test_what_the_module_says_of_its_annotations_is_checked(declared: str, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        from_texts(MODULE, takes(x=declared), {"x": text})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"regoin": "eu"}, "did you mean 'region'"),
        ({"zzz": 1}, "it takes: region, size"),
        ({"region": "eu", "size": "big"}, "'size' must be int, not str"),
        ({"region": "eu", "size": True}, "'size' must be int, not bool"),
        ({"size": 1}, "needs a value for 'region'"),
    ],
)
def test_what_does_not_fit_is_said(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        checked(takes(region="str", size="int = 2"), given)


@pytest.mark.parametrize("text", ["novalue", "=3", "a b=1"])
def test_params_are_name_and_value(text: str) -> None:
    with pytest.raises(UserError, match="write -p name=value"):
        read_params([text])


def test_values_may_hold_equals_signs() -> None:
    assert read_params(["q=a=b", "n=1"]) == {"q": "a=b", "n": "1"}
