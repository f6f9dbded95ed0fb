"""docs/conformance.md names tests that exist, and every test of this folder."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = (ROOT / "docs/conformance.md").read_text()


def test_what_the_page_names_is_there() -> None:
    for file, name in re.findall(r"`(test_\w+\.py)::(\w+)`", PAGE):
        assert f"def {name}(" in (HERE / file).read_text(), f"{file} has no {name}"
    for path in re.findall(r"`(tests/[\w/.]+)`", PAGE):
        assert (ROOT / path).exists(), path


def test_every_row_has_a_verdict_and_a_proof() -> None:
    rows = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line]
    for row in rows:
        if row[1] == "verdict":
            continue
        verdict, proof = row[1], row[2].strip(" |")
        assert verdict.startswith(("passes", "differs: ", "n/a")), row
        assert bool(proof) != verdict.startswith("n/a"), row
