"""Identity of a call survives what does not change it."""

from __future__ import annotations

from flowbook.core import keys


def test_keys_count_visits() -> None:
    assert keys.key("/a", "b", 1) == "/a/b"
    assert keys.key("/a", "b", 3) == "/a/b.3"


def test_digests_depend_on_name_and_on_where_one_part_ends() -> None:
    assert keys.digest("f", [b"ab", b"c"]) != keys.digest("f", [b"a", b"bc"])
    assert keys.digest("f", [b"a"]) != keys.digest("g", [b"a"])
    assert keys.digest("f", [b"a"]) == keys.digest("f", [b"a"])
