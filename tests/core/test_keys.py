"""Identity of a call survives what does not change it."""

from __future__ import annotations

import pytest

from flowbook.core import keys


@pytest.mark.parametrize(
    "source",
    ["x = load( order ,  2)\n", "x = load(order, 2)  # why\n", "x = load(\n    order,\n    2,\n)\n"],
)
def test_layout_and_comments_do_not_change_the_normal_form(source: str) -> None:
    lines = source.splitlines()
    end = next(index for index, line in enumerate(lines) if ")" in line)
    span = (1, 4, end + 1, lines[end].index(")") + 1)
    assert keys.normalised(source, span) == "load(order, 2)"


def test_keys_count_visits() -> None:
    assert keys.key("/a", "b", 1) == "/a/b"
    assert keys.key("/a", "b", 3) == "/a/b.3"


def test_digests_depend_on_name_and_on_where_one_part_ends() -> None:
    assert keys.digest("f", [b"ab", b"c"]) != keys.digest("f", [b"a", b"bc"])
    assert keys.digest("f", [b"a"]) != keys.digest("g", [b"a"])
    assert keys.digest("f", [b"a"]) == keys.digest("f", [b"a"])
