"""Parameters typed in a shell, and arguments given in Python."""

from __future__ import annotations

from typing import Any

import pytest

from flowbook.api.arguments import checked, from_texts, read_params
from flowbook.core.module import Workflow
from flowbook.errors import UserError


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
    ],
)
def test_texts_become_values(declared: str, text: str, value: Any) -> None:
    assert from_texts(takes(x=declared), {"x": text}) == {"x": value}


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
