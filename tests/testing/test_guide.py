"""The examples of the guide are run as they stand; and the plugin costs nothing where it is not used."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BACKEND = "@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"


def plugin() -> list[str]:
    """pytest loads it by itself where the package was installed since it has one."""
    installed = any(point.value == "flowbook.testing.plugin" for point in metadata.entry_points(group="pytest11"))
    return [] if installed else ["-p", "flowbook.testing.plugin"]


@pytest.mark.slow
def test_the_guides_examples_hold(tmp_path: Path) -> None:
    guide = (ROOT / "docs/guide/testing.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    (tmp_path / "test_page.py").write_text("\n".join([*blocks, BACKEND]))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin(), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert "4 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_the_plugin_loads_nothing_until_it_is_used() -> None:
    script = "import sys, flowbook.testing.plugin; print([m for m in sys.modules if m.startswith('flowbook')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert sorted(eval(done.stdout)) == ["flowbook", "flowbook.testing", "flowbook.testing.plugin"]
