"""The extension's own unit tests, run by node."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.jupyter.servers import REPOSITORY


@pytest.mark.slow
def test_the_extension_passes_its_unit_tests() -> None:
    node, extension = shutil.which("node"), REPOSITORY / "extension"
    assert node, "no node found: the extension cannot be built without it"
    assert (extension / "lib").is_dir(), "the extension is not built: make setup"
    command = [node, "--import", "./tests/resolve.mjs", "--test", "tests/"]
    ended = subprocess.run(command, cwd=extension, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout
