"""What goes in and out of the command in odd places: other encodings, closed and full outputs, readers that leave."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.project import Project

pytestmark = pytest.mark.slow

FLOWS = """
from flowbook import signal, step, workflow

@workflow
async def plain(text: str = "å\\u202e\\x1b[31m"):
    return {"text": text, "two\\nlines": 1}

@workflow
async def ask():
    return await signal("go")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("streams")
    (folder / "flows.py").write_text(FLOWS)
    made = Project(folder)
    made("run", "flows.py:plain", "--id", "-r' 1")
    yield made
    made("engine", "stop", "--now", code=None)


def shell(project: Project, line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = line.replace("flowbook", shlex.join([sys.executable, "-m", "flowbook"]), 1)
    return subprocess.run(
        ["bash", "-c", command],
        cwd=project.folder,
        env={**project.environment, **environment},
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ('flowbook show -- "-r\' 1" > /dev/full', 2, "the output could not be written: No space left on device"),
        ("flowbook runs --json > /dev/full", 2, "the output could not be written"),
        ("flowbook show nobody --json > /dev/full", 2, "no run"),
        ("flowbook runs >&-", 0, ""),
        ("flowbook runs >&- 2>&-", 0, ""),
        ("flowbook show nobody >&- 2>&-", 2, ""),
        ("flowbook runs <&- >&- 2>&-", 0, ""),
        ("flowbook show nobody --json 2>&1 | head -c 0", 0, ""),
        ('flowbook history show -- "-r\' 1" | head -n 1', 0, ""),
        ("flowbook rnus 2>&1 | head -c 0", 0, ""),
        ("flowbook show $'\\xff'", 2, "word 2 of the command line ('\\udcff') is no UTF-8 text"),
        ("flowbook run flows.py:plain -p text=$'a\\xffb' --json", 2, "is no UTF-8 text"),
    ],
)
def test_it_leaves_with_a_word_and_without_a_traceback(project: Project, line: str, code: int, said: str) -> None:
    found = shell(project, line)
    text = found.stderr.decode()
    assert (found.returncode, "Traceback" in text or "Exception ignored" in text) == (code, False), text
    assert said in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_the_terminal_has_no_sign_for_is_written_out(project: Project, encoding: str) -> None:
    found = shell(project, 'flowbook show -- "-r\' 1"', PYTHONIOENCODING=encoding)
    assert found.returncode == 0 and rb"\u2713 succeeded" in found.stdout, found.stderr
    found = shell(project, 'flowbook show --json -- "-r\' 1"', PYTHONIOENCODING=encoding)
    expected = {"text": "å\u202e\x1b[31m", "two\nlines": 1}
    assert json.loads(found.stdout.decode(encoding))["result"] == expected


def test_what_is_printed_is_shown_and_not_obeyed(project: Project) -> None:
    shown = project("show", "--", "-r' 1").stdout
    sql = project("sql", "select result, chr(27) || '[2J' as \"a\nb\" from runs").stdout
    for text in (shown, sql):
        assert "\x1b" not in text and "\u202e" not in text
    assert r"two\nlines" in shown and r"\x1b[2J" in sql and r"a\nb" in sql
    assert len(sql.splitlines()) == 3


def test_what_one_is_told_to_type_can_be_typed(project: Project) -> None:
    shown = project("show", "--", "-r' 1").stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("next")]
    command = line.removeprefix("next").strip().split("   ")[0]
    assert shlex.split(command)[-3:] == ["show", "--", "-r' 1"]
    project("run", "flows.py:ask", "--id", "w x", "--detach")
    hints = project("run", "flows.py:ask", "--id", "w x", "--detach").stdout
    assert "watch 'w x'" in hints
    typed = shlex.split(hints.split("stop it")[1])
    assert typed[-2:] == ["cancel", "w x"]
    project(*typed[-2:])


def test_json_is_json_whatever_goes_wrong(project: Project) -> None:
    for typed, kind in (
        (("history", "show", "nobody"), "UnknownRun"),
        (("runs", "--limit", "0"), "UserError"),
        (("runs", "--sttatus", "failed"), "UserError"),
        (("sql", "selec"), "UserError"),
        (("sql", "select 1", "--limit", "-1"), "UserError"),
        (("fly",), "UserError"),
        (("prune",), "UserError"),
    ):
        assert project.json(*typed, code=2)["error"]["type"] == kind, typed
    found = json.loads(project("history", "show", "--after", "1", "--json", "--", "-r' 1").stdout)
    assert found[0]["seq"] == 2


def test_a_paused_run_says_why_in_the_list(project: Project, tmp_path: Path) -> None:
    project("run", "flows.py:ask", "--id", "p", "--detach")
    project("history", "export", "p", "-o", tmp_path / "p.flow")
    project("history", "import", tmp_path / "p.flow", "--as", "q")
    (line,) = [line for line in project("runs").stdout.splitlines() if line.startswith("q ")]
    assert "it was imported from p.flow" in line


def test_it_runs_without_a_home(project: Project) -> None:
    assert os.getcwd() != str(project.folder)
    assert shell(project, "flowbook --version").stdout.startswith(b"flowbook ")
