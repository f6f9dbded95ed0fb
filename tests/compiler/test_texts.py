"""The text of generated modules, for people to read: cases/*.txt is what the sample notebooks become."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flowbook.compiler import compile_notebook

SAMPLES = Path(__file__).parents[2] / "sample_notebooks"
CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize("name", ["approval", "provision_vm", "weather_report"])
def test_text(name: str) -> None:
    page = json.loads((SAMPLES / f"{name}.ipynb").read_text())
    result = compile_notebook(page, name, origin=f"{name}.ipynb")
    assert result.module is not None and result.diagnostics == ()
    assert result.module.source == (CASES / f"{name}.txt").read_text()
