from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from flowbook.core.events import AnyEvent
from flowbook.widgets import assets

LIMIT = 60_000
"""The whole module travels with every widget, and must be there within two seconds."""


def test_the_module_is_small_whole_and_fetches_nothing() -> None:
    module = assets.module()
    assert len(module.encode()) < LIMIT
    assert module.count("export default") == 1
    assert "import " not in module.replace("// ", "")
    assert "http://" not in module.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in module and "@import" not in assets.style()


def test_leaving_out_indentation_changes_no_text(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    file = tmp_path / "widget.mjs"
    file.write_text(assets.module(), encoding="utf-8")
    code = (
        "const made = await import(process.argv[1]);"
        "console.log(typeof made.default.render, typeof made.createRunView, made.duration(185),"
        " JSON.stringify(made.applyPatch({a: {b: [1]}, c: 1}, [[['a', 'b', 1], 2], [['c']], [['d'], null]])))"
    )
    done = subprocess.run(
        [node, "--input-type=module", "-e", code, str(file)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == 'function function 3 min 5 s {"a":{"b":[1,2]},"d":null}'


def test_the_list_of_events_has_words_for_every_one() -> None:
    table = assets.module().partition("const KINDS={")[2].partition("};")[0]
    assert set(re.findall(r"([A-Z]\w+):\[", table)) == {kind.__name__ for kind in get_args(AnyEvent)}
