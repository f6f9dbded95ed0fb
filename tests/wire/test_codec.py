"""Values come back as what they were; small ones inline, large ones as files; nothing is shown by loading a pickle."""

from __future__ import annotations

import datetime
import decimal
import pathlib
import threading
import uuid
from typing import Any

import msgspec
import numpy
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowbook.core import value as value_module
from flowbook.core.ids import Digest
from flowbook.core.value import Value
from flowbook.errors import FlowbookError, UnsavableValue
from flowbook.wire import codec

FILES: dict[Digest, bytes] = {}


def save(data: bytes) -> Digest:
    digest = Digest(f"{len(FILES)}")
    FILES[digest] = data
    return digest


def back_and_forth(value: object) -> Any:
    encoded = codec.encode(value, save)
    travelled = msgspec.json.decode(msgspec.json.encode(encoded), type=Value)
    return codec.decode(travelled, FILES.__getitem__)


keys = st.one_of(st.text(), st.integers(), st.tuples(st.integers(), st.text()), st.none())
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.dates(),
    st.datetimes(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.complex_numbers(allow_nan=False),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(st.integers(), max_size=4),
        st.frozensets(st.text(), max_size=4),
    ),
    max_leaves=12,
)


@given(values)
def test_plain_values_come_back_equal_and_of_the_same_type(value: object) -> None:
    again = back_and_forth(value)
    assert again == value
    assert type(again) is type(value)


@given(values)
def test_what_is_shown_never_fails_and_is_json(value: object) -> None:
    msgspec.json.encode(codec.shown(value))
    msgspec.json.encode(value_module.shown(codec.encode(value, save)))


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, None]}, "json"),
        ((1, 2), "json"),
        (float("nan"), "json"),
        (2**80, "json"),
        (numpy.float64(1.5), "json"),
        (pathlib.Path("a/b"), "json"),
        (range(3), "json"),
        (b"abc", "bytes"),
        (numpy.arange(3), "npy"),
        (pandas.DataFrame({"a": [1, 2]}), "arrow"),
        (pandas.DataFrame({"a": [1, "x"]}), "pickle"),
        (numpy.array([object()]), "pickle"),
        (Point(1), "pickle"),
    ],
)
def test_each_type_has_its_codec(value: object, expected: str) -> None:
    assert codec.encode(value, save).codec == expected


def test_tables_and_arrays_come_back() -> None:
    frame = pandas.DataFrame({"n": [1, 2], "when": pandas.to_datetime(["2026-01-01", "2026-02-01"])}, index=["a", "b"])
    pandas.testing.assert_frame_equal(back_and_forth(frame), frame)
    assert back_and_forth(numpy.eye(3)).tolist() == numpy.eye(3).tolist()
    assert type(back_and_forth(numpy.int32(4))) is numpy.int32


@pytest.mark.parametrize("text", ["caf\udce9.csv", "\udce9" * 100_000], ids=["short", "long"])
def test_text_that_is_no_unicode_comes_back(text: str) -> None:
    for value in (text, [text], {text: 1.5}, (text, pathlib.Path(text))):
        encoded = codec.encode(value, save)
        assert back_and_forth(value) == value
        assert "\\udce9" in encoded.preview and encoded.preview.encode()


def test_long_values_become_files_and_keep_a_preview() -> None:
    encoded = codec.encode("x" * 100_000, save)
    assert (encoded.file != "", bytes(encoded.data), encoded.size) == (True, b"", 100_002)
    assert codec.decode(encoded, FILES.__getitem__) == "x" * 100_000
    assert len(value_module.shown(encoded)["preview"]) <= codec.PREVIEW


def test_a_pickle_is_not_loaded_where_it_must_not_be() -> None:
    encoded = codec.encode(Point(1), save)
    assert "repr raised RuntimeError" in encoded.preview
    with pytest.raises(FlowbookError, match="only loaded by its owner"):
        codec.decode(encoded, FILES.__getitem__, pickles=False)
    assert codec.decode(encoded, FILES.__getitem__).x == 1


def test_an_unsavable_value_is_named() -> None:
    with pytest.raises(UnsavableValue, match=r"the value 'lock' of type .*lock cannot be saved"):
        codec.encode(threading.Lock(), save, "lock")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"a": 1}, {"a": 1}),
        ((1, datetime.date(2026, 1, 2)), [1, "2026-01-02"]),
        (decimal.Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (numpy.float64(2.5), 2.5),
    ],
)
def test_small_values_are_shown_as_json(value: object, shown: object) -> None:
    assert value_module.shown(codec.encode(value, save)) == shown
