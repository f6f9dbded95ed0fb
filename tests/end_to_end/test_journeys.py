"""What a person does on a bad day: break a run, look back, mend a cell, fork; and the mistakes along the way."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.end_to_end.project import Project

pytestmark = pytest.mark.slow

LOG = "def log(what):\n    with open('ledger.txt', 'a') as file:\n        file.write(what + '\\n')"
PARAMS = "#| params\nsize = 3"
LOAD = "#| step: load\nlog('load')\nrows = list(range(size))"
SCORE = "#| step: score\n#| map: rows as row\nlog(f'score {row}')\npoints = row * 10"
BROKEN = "#| step: total\nbase = sum(points)\nsum_of_all = base / 0"
MENDED = "#| step: total\nbase = sum(points)\nsum_of_all = base + 1"


def test_a_failed_run_is_looked_at_mended_and_forked(project: Project) -> None:
    project.notebook("shop.ipynb", LOG, PARAMS, LOAD, SCORE, BROKEN)
    failed = project.json("run", "shop.ipynb", "--id", "first", code=1)
    assert (failed["status"], failed["error"]["type"], failed["error"]["step"]) == (
        "failed",
        "ZeroDivisionError",
        "total",
    )
    assert (failed["error"]["cell"], failed["error"]["line"]) == ("cell5", 3)

    moment = project.json("at", "first", failed["seq"])
    assert moment["stack"][0]["cell"] == "cell5" and moment["stack"][0]["line"] == 3
    assert moment["stack"][0]["locals"]["base"] == 30
    assert moment["values"]["points"] == [0, 10, 20]
    early = project.json("at", "first", 2)
    assert "points" not in early["values"]

    project.notebook("shop.ipynb", LOG, PARAMS, LOAD, SCORE, MENDED)
    plan = project.json("fork", "first", "--step", "total", "--plan")
    assert {row["step"]: row["action"] for row in plan["rows"]} == {"load": "reuse", "score": "reuse", "total": "rerun"}
    assert len(project.json("runs")) == 1
    forked = project.json("fork", "first", "--step", "total", "--id", "second")
    assert forked["status"] == "succeeded" and forked["result"] == {"base": 30, "sum_of_all": 31}
    assert forked["origin"]["run"] == "first"
    assert sorted(project.ledger()) == ["load", "score 0", "score 1", "score 2"]
    assert project.json("show", "second")["steps"]["load"]["status"] == "reused"


def test_a_hand_written_module_runs_by_name(project: Project) -> None:
    (project.folder / "flows.py").write_text(
        "import asyncio\n"
        "from flowbook import step, workflow\n\n\n"
        "@step\n"
        "def double(x: int) -> int:\n"
        "    return 2 * x\n\n\n"
        "@workflow\n"
        "async def one(x: int = 1) -> int:\n"
        "    await asyncio.sleep(0.01)\n"
        "    return await double(x)\n\n\n"
        "@workflow\n"
        "async def many(xs: list[int]) -> list[int]:\n"
        "    return await asyncio.gather(*[double(x) for x in xs])\n"
    )
    assert project.json("run", "flows.py:one", "-p", "x=21")["result"] == 42
    assert project.json("run", "flows.py:many", "-p", "xs=[1, 2]")["result"] == [2, 4]
    for arguments, says in [
        (("flows.py",), "2 workflows; say which"),
        (("flows.py:on",), "did you mean 'one'"),
        (("flows.py:one", "-p", "y=1"), "no parameter 'y'"),
        (("flows.py:one", "-p", "x=many"), "'x' must be int"),
        (("flows.py:many",), "needs a value for 'xs'"),
    ]:
        assert says in project("run", *arguments, code=2).stderr


def test_the_same_id_is_the_same_run(project: Project) -> None:
    project.notebook("shop.ipynb", LOG, PARAMS, LOAD)
    first = project.json("run", "shop.ipynb", "--id", "once")
    assert project.json("run", "shop.ipynb", "--id", "once") == first
    assert project.ledger() == ["load"]
    assert "once" in project("run", "shop.ipynb", "--id", "once", "-p", "size=4", code=2).stderr


def test_findings_name_cell_line_column_and_fix(project: Project) -> None:
    project.notebook("typo.ipynb", "#| step: load\n#| retires: 3\nrows = [1]", "#| step\ntotal = sum(rwos)")
    found = project.json("check", "typo.ipynb", code=2)["diagnostics"]
    assert found and {"code", "cell", "line", "column", "message", "fix"} <= set(found[0])
    typo = next(d for d in found if "retires" in d["message"])
    assert (typo["cell"], typo["line"]) == ("cell1", 2) and "retries" in typo["fix"]
    said = project("run", "typo.ipynb", code=2).stderr
    assert "cell 1, line 2" in said and "retries" in said


def test_graphs_in_every_format(project: Project) -> None:
    project.notebook("shop.ipynb", LOG, PARAMS, LOAD, SCORE, MENDED)
    shown = {f: project("graph", "shop.ipynb", "--format", f).stdout for f in ("svg", "dot", "mermaid", "json")}
    assert shown["svg"].lstrip().startswith("<") and "<svg" in shown["svg"]
    assert all("score" in text for text in shown.values())
    assert not (project.folder / ".flowbook").exists()


def test_export_keeps_what_is_not_ours(project: Project) -> None:
    project.notebook("shop.ipynb", LOG, PARAMS, LOAD)
    (project.folder / "mine.py").write_text("precious = 1\n")
    assert "--force" in project("export", "shop.ipynb", "-o", "mine.py", code=2).stderr
    project("export", "shop.ipynb", "-o", "ours.py")
    project("export", "shop.ipynb", "-o", "ours.py")
    assert project("export", "shop.ipynb", "-o", "-").stdout == (project.folder / "ours.py").read_text()


def test_the_engine_says_what_it_is(project: Project) -> None:
    assert project.json("engine", "status")["pid"] is None
    started = project.json("engine", "start")
    status = project.json("engine", "status")
    assert status["pid"] == started["pid"] and status["open_runs"] == 0 and status["file"].endswith(".duckdb")
    project("engine", "stop")
    assert project.json("engine", "status")["pid"] is None


def test_sql_sees_what_ran(project: Project) -> None:
    project.notebook("shop.ipynb", LOG, PARAMS, LOAD)
    project.json("run", "shop.ipynb")
    answer = project.json("sql", "select status, count(*) as n from runs group by all")
    assert [column["name"] for column in answer["columns"]] == ["status", "n"] and answer["rows"] == [["succeeded", 1]]
    assert "read" in project("sql", "drop table runs", code=2).stderr.lower()


SCRIPT = """
from flowbook import step, workflow

@step
def double(x):
    return 2 * x

@workflow
async def twice(x: int = 1):
    return await double(x)

"""


def test_a_script_starts_its_own_workflow(project: Project) -> None:
    assert (
        _python(project, SCRIPT + "if __name__ == '__main__':\n    print(twice.start(21).result())\n").stdout == "42\n"
    )
    refused = _python(project, SCRIPT + "print(twice.start(21).result())\n")
    assert "UserError" in refused.stderr and "__main__" in refused.stderr
    assert len(project.json("runs")) == 1


def test_a_kernel_cell_starts_its_own_workflow(project: Project) -> None:
    definitions, _, rest = SCRIPT.partition("@workflow")
    cells = [
        definitions,
        f"@workflow{rest}\nrun = twice.start(4)",
        "print(run.result())\nprint(run.at(run.history[-2].seq).values)",
    ]
    code = (
        "from IPython.testing.globalipapp import start_ipython\n"
        f"shell = start_ipython()\nfor cell in {cells!r}:\n    shell.run_cell(cell, store_history=True)\n"
    )
    assert _python(project, code).stdout.splitlines()[-2:] == ["8", "double = 8"]


def _python(project: Project, code: str) -> subprocess.CompletedProcess[str]:
    (project.folder / "script.py").write_text(code)
    return subprocess.run(
        [sys.executable, "script.py"],
        cwd=project.folder,
        env={**project.environment, "IPYTHONDIR": str(project.folder / "ipython")},
        capture_output=True,
        text=True,
        timeout=60,
    )
