"""Schedules as people use them: the command, real time, an engine that is killed, a notebook that asks for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.project import Project

pytestmark = pytest.mark.slow

FLOW = """
from flowbook import step, workflow

@step
def log(word, day):
    with open("ledger.txt", "a") as file:
        file.write(f"{word} {day}\\n")

@workflow
async def tick(word: str = "tick", day: object = None):
    await log(word, day)
"""

MAKE = """
import flowbook
from tick import tick

made = tick.schedule("api", "tack", every="1d", overlap="buffer_all", time_parameter="day", timezone="Asia/Tokyo")
assert made.status == "active" and len(made.next(3)) == 3 and made.next(1)[0].utcoffset().total_seconds() == 32400
assert [found.name for found in flowbook.schedules()] == ["api"]
assert repr(flowbook.get_schedule("api")).startswith("<schedule api active: tick every 1d, next ")
begun = made.backfill("2026-01-02", "2026-01-03")
assert repr(begun) == "1 started, 1 waiting for their turn"
assert begun[0].result(30) is None
run = made.trigger(overlap="allow_all")
assert run.result(30) is None and run.id in [found.id for found in made.runs()]
while len(flowbook.get_schedule("api").summary["running"]):
    pass
assert made.pause("enough").status == "paused" and made.resume().status == "active"
try:
    flowbook.schedule("tick.py", "bad", cron="61 * * * *")
except flowbook.FlowbookError as error:
    assert "its minute is wrong" in str(error)
made.delete()
assert not flowbook.schedules()
"""


def until(check: Any, timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)


def test_times_survive_a_kill_and_come_once(project: Project) -> None:
    (project.folder / "tick.py").write_text(FLOW)
    made = project.json(
        "schedule", "set", "often", "tick.py", "--every", "1s", "--overlap", "allow_all", "--time-parameter", "day"
    )
    assert made["status"] == "active" and made["overlap"] == "allow_all" and len(made["next"]) == 5
    until(lambda: len(project.ledger()) >= 2)
    os.kill(project.json("engine", "status")["pid"], signal.SIGKILL)
    time.sleep(2.5)
    first = project.json("schedule", "show", "often")
    until(lambda: len(project.ledger()) >= first["started"])
    project.json("schedule", "pause", "often")
    shown = project.json("schedule", "show", "often")
    assert shown["status"] == "paused"
    until(lambda: not project.json("schedule", "show", "often")["running"])
    times = sorted(begun["at"] for begun in shown["recent"])
    assert len(times) == len(set(times)) == shown["started"]
    assert times == [times[0] + number for number in range(len(times))], "a time was lost or came twice"
    rows = project.json("sql", "select status, count(*) from runs where id like 'often-%' group by all")["rows"]
    assert rows == [["succeeded", shown["started"]]]
    days = {line.split(" ", 1)[1] for line in project.ledger()}
    assert len(days) == shown["started"]


def test_the_api_in_a_script(project: Project) -> None:
    (project.folder / "tick.py").write_text(FLOW)
    (project.folder / "make.py").write_text(MAKE)
    done = subprocess.run(
        [sys.executable, "make.py"],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    days = ("2026-01-02 09:00:00+09:00", "2026-01-03 09:00:00+09:00")
    ledger = project.ledger()
    assert len(ledger) == 3 and [line for line in ledger if line.endswith(days)] == [f"tack {day}" for day in days]


def test_a_notebooks_annotation_is_the_default(project: Project) -> None:
    path = project.notebook(
        "nightly.ipynb",
        '#| workflow: {name: nightly, schedule: "0 3 * * *"}\n#| params\nsize = 3',
        "#| step\nrows = size",
    )
    checked = project.json("check", path)
    assert [found["code"] for found in checked["diagnostics"]] == ["FB003"]
    assert "schedule set" in checked["diagnostics"][0]["fix"]
    assert project.json("schedule", "list") == []
    made = project.json("schedule", "set", "n", path, "-p", "size=5", "--timezone", "Europe/Oslo")
    assert (made["crons"], made["arguments"], made["workflow"]) == (["0 3 * * *"], {"size": 5}, "nightly")
    assert project.json("schedule", "set", "n", path, "--every", "1h")["crons"] == []
    run = project.json("schedule", "trigger", "n")["started"][0]
    assert project.json("watch", run)["status"] == "succeeded"
    text = project("schedule", "show", "n").stdout
    assert "every 1h" in text and f"{run}  succeeded" in text
    assert "n active: nightly every 1h" in project("schedule", "list").stdout


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--cron", "61 * * * *"], "its minute is wrong"),
        (["--cron", "@daily", "--timezone", "Europe/Olso"], "did you mean 'Europe/Oslo'?"),
        ([], "has no times"),
        (["--every", "soon"], "'soon' is not a duration"),
        (["--every", "1h", "--start", "tomorrow"], "'tomorrow' is not a time"),
        (["--every", "1h", "-p", "wrod=x"], "did you mean 'word'?"),
        (["--every", "1h", "--time-parameter", "when"], "has no parameter 'when'"),
    ],
)
def test_mistakes_are_explained(project: Project, flags: list[str], part: str) -> None:
    (project.folder / "tick.py").write_text(FLOW)
    told = project("schedule", "set", "n", Path("tick.py"), *flags, code=2)
    assert part in told.stderr and len(told.stderr.splitlines()) == 1
