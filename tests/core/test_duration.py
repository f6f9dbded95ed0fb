"""Durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowbook.core.duration import finite, seconds, size, spoken, spoken_size, time_limit
from flowbook.errors import UserError


@pytest.mark.parametrize(
    ("written", "length"),
    [
        (5, 5.0),
        (0.5, 0.5),
        ("5", 5.0),
        ("250ms", 0.25),
        ("30s", 30.0),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("1d", 86400.0),
        ("1w", 604800.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        (".5", 0.5),
    ],
)
def test_written_durations(written: float | str, length: float) -> None:
    assert seconds(written) == length


@pytest.mark.parametrize("written", ["", "soon", "5 parsecs", "10x", -1, float("nan"), "h", "1h-2m"])
def test_what_is_no_duration_says_how_to_write_one(written: float | str) -> None:
    with pytest.raises(UserError, match="duration"):
        seconds(written)


@pytest.mark.parametrize("written", [0, "0s", "0", -1, float("inf"), "soon"])
def test_a_time_limit_is_a_length_of_time(written: float | str) -> None:
    with pytest.raises(UserError):
        time_limit(written)
    assert (time_limit(None), time_limit("2m")) == (0.0, 120.0)


@pytest.mark.parametrize("written", [float("inf"), "9" * 400 + "s", -1])
def test_what_has_an_end_is_finite(written: float | str) -> None:
    with pytest.raises(UserError):
        finite(written)
    assert finite("2m") == 120.0


@pytest.mark.parametrize(("length", "said"), [(0, "0B"), (512, "512B"), (600 * 1024**2, "600MB"), (3 * 2**29, "1.5GB")])
def test_spoken_sizes_are_read_back(length: int, said: str) -> None:
    assert spoken_size(length) == said and size(said) == length


@given(st.integers(1, 10_000_000))
def test_spoken_durations_are_read_back(length: int) -> None:
    assert seconds(spoken(length)) == length
