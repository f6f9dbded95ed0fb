"""The palette holds under colour blindness and against the backgrounds it is drawn on, as the search found it."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from flowbook.export.style import CSS, PALETTE

SMALLEST_DISTANCE = 23.5
GROUNDS = {"light": ("#ffffff", "#eeeeee"), "dark": ("#111111", "#212121")}

# Machado, Oliveira and Fernandes 2009, full severity, on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip  # noqa: E501
WHITE = np.array([0.95047, 1.0, 1.08883])


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / WHITE
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    lights = sorted(float(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour)) for colour in (one, other))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


@pytest.mark.parametrize("scheme", sorted(PALETTE))
@pytest.mark.parametrize("vision", sorted(VISIONS))
def test_families_stay_apart_for_every_kind_of_eyes(scheme: str, vision: str) -> None:
    seen = {name: lab(VISIONS[vision] @ linear(colour)) for name, colour in PALETTE[scheme].items()}
    distances = {pair: float(np.linalg.norm(seen[pair[0]] - seen[pair[1]])) for pair in combinations(seen, 2)}
    assert min(distances.values()) >= SMALLEST_DISTANCE, distances


@pytest.mark.parametrize("scheme", sorted(PALETTE))
def test_families_stand_out_from_the_grounds(scheme: str) -> None:
    for colour in PALETTE[scheme].values():
        assert min(contrast(colour, ground) for ground in GROUNDS[scheme]) >= 3.0


def test_the_style_sheet_has_both_schemes_and_needs_no_motion_or_colour() -> None:
    for colours in PALETTE.values():
        assert all(colour in CSS for colour in colours.values())
    assert "prefers-reduced-motion" in CSS
    assert "forced-colors" in CSS
