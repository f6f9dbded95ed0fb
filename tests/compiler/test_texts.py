"""The text of generated modules, for people to read: cases/*.txt is what the sample notebooks become."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flowbook.compiler import compile_notebook
from tests.compiler.pages import accepted

SAMPLES = Path(__file__).parents[2] / "sample_notebooks"
CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize("name", ["approval", "provision_vm", "weather_report"])
def test_text(name: str) -> None:
    page = json.loads((SAMPLES / f"{name}.ipynb").read_text())
    result = compile_notebook(page, name, origin=f"{name}.ipynb")
    assert result.module is not None and result.diagnostics == ()
    assert result.module.source == (CASES / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    ("head", "decorator"),
    [
        ("#| queue: gpu\n#| priority: 5", '@step(queue="gpu", priority=5)'),
        ("#| heartbeat: 10s\n#| timeout: 1h", '@step(timeout="1h", heartbeat_timeout="10s")'),
        ("#| isolate: process\n#| memory: 2GB", '@step(isolate="process", memory="2GB")'),
        ("#| at_most_once", "@step(at_most_once=True)"),
        ("#| external: true\n#| timeout: 24h", '@step(timeout="24h", external=True)'),
    ],
)
def test_options_become_arguments_that_step_takes(head: str, decorator: str) -> None:
    source = accepted(f"#| step: load\n{head}\nrows = 1").source
    assert decorator in source
    exec(compile(source, "page.py", "exec"), {"__name__": "page"})
