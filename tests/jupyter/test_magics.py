"""``%flow`` in a shell, without a kernel process."""

from __future__ import annotations

import atexit
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from flowbook.api.page import Flow
from tests.jupyter.asking import notebook
from tests.jupyter.servers import REPOSITORY


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ipynb").write_text(json.dumps(notebook("#| params\ncount = 3", "#| step: twice\nx = count * 2")))
    found = InteractiveShell()
    found.history_manager.enabled = False
    found.extension_manager.load_extension("flowbook.jupyter.magics")
    yield found
    atexit.unregister(found.atexit_operations)
    found.atexit_operations()


def test_flow_is_in_the_namespace_but_not_in_who(shell: Any) -> None:
    assert isinstance(shell.user_ns["flow"], Flow)
    assert "flow" not in shell.run_line_magic("who_ls", "")


def test_check_and_export_need_no_engine(shell: Any, tmp_path: Path) -> None:
    assert repr(shell.run_line_magic("flow", "check a.ipynb")) == "nothing to report"
    assert not (tmp_path / ".flowbook").exists()


def test_mistakes_are_one_line(shell: Any) -> None:
    with pytest.raises(UsageError, match="did you mean"):
        shell.run_line_magic("flow", "check aa.ipynb")
    with pytest.raises(UsageError, match="not known"):
        shell.run_line_magic("flow", "fly")
    with pytest.raises(UsageError, match="no parameter 'cuont'"):
        shell.run_line_magic("flow", "run a.ipynb cuont=1")


def test_without_words_it_says_what_there_is(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_line_magic("flow", "")
    assert "%flow run" in capsys.readouterr().out


def test_unloading_takes_it_away(shell: Any) -> None:
    shell.extension_manager.unload_extension("flowbook.jupyter.magics")
    assert "flow" not in shell.user_ns
    assert "flow" not in shell.magics_manager.magics["line"]


def test_the_kernel_loads_the_extension() -> None:
    kernel = json.loads((REPOSITORY / "kernels" / "flowbook" / "kernel.json").read_text())
    assert kernel["argv"][0] == "python"
    assert "--ext=flowbook.jupyter.magics" in kernel["argv"]
