"""A run keeps the code it began with, what lies beside it included; and its values are of the classes that people
have.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.project import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.crash]

HELPER = """
import dataclasses
import enum

from flowbook import step, workflow

from parts.rate import RATE


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Box:
    n: int
    colour: Colour = Colour.RED


class Plain:
    def __init__(self, v):
        self.v = v


@step
def twice(box: Box) -> Box:
    assert isinstance(box, Box), type(box)
    return Box(box.n * 2 * RATE, Colour.BLUE)


@step
def plain(v) -> Plain:
    return Plain(v)


@workflow
async def kid(box: Box) -> Box:
    return await twice(box)
"""

FLOWS = """
from dataclasses import dataclass

from flowbook import signal, step, workflow

import helper
from helper import Box, Colour, Plain, kid, plain, twice


@dataclass
class Own:
    x: int


@step(isolate="process")
def own(value: Own) -> Own:
    assert isinstance(value, Own), type(value)
    return Own(value.x + 1)


@workflow
async def flow(box: Box, value: Own, thing: Plain):
    assert (type(box), type(value), type(thing)) == (Box, Own, Plain)
    first = await twice(box)
    assert first.colour is Colour.BLUE
    second = await kid.start(first)
    third = await own(value)
    fourth = await plain(thing.v)
    await signal("go")
    return first, second, third, fourth, await twice(Box(1))
"""

USE = """
import json, os, signal, subprocess, sys, time
import flowbook
import flows
import helper

run = flows.flow.start(helper.Box(3), flows.Own(1), helper.Plain(7), id="r")
while (seen := run.status) != "waiting":
    assert seen == "running", run.summary
    time.sleep(0.02)
rate = open("parts/rate.py").read()
open("parts/rate.py", "w").write("RATE = 1000\\n")
open("helper.py", "a").write("\\nraise RuntimeError('edited')\\n")
command = [sys.executable, "-m", "flowbook", "engine", "status", "--json"]
status = subprocess.run(command, capture_output=True, text=True)
for worker in json.loads(status.stdout)["workers"]:
    os.kill(worker["pid"], signal.SIGKILL)
run.signal("go")
first, second, third, fourth, last = run.result(60)
assert (first, second) == (helper.Box(6, helper.Colour.BLUE), helper.Box(12, helper.Colour.BLUE)), (first, second)
assert first.colour is helper.Colour.BLUE and type(third) is flows.Own and third.x == 2
assert type(fourth) is helper.Plain and fourth.v == 7
assert last.n == 2, "the edit touched a run that was under way"
then = run.at(run.history[-1].seq - 3).values
assert type(then["box"]) is helper.Box
print("ok")
"""


def test_an_edit_beside_touches_no_run_and_values_are_ours(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for name, text in {
        "helper.py": HELPER,
        "flows.py": FLOWS,
        "use.py": USE,
        "parts/rate.py": "RATE = 1\n",
        "pyproject.toml": "",
    }.items():
        (tmp_path / name).write_text(text)
    environment = {**os.environ, "FLOWBOOK_HOME": str(tmp_path / ".flowbook"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "use.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    try:
        assert done.stdout.strip() == "ok", done.stderr
    finally:
        stop = [sys.executable, "-m", "flowbook", "engine", "stop"]
        subprocess.run(stop, cwd=tmp_path, env=environment, capture_output=True, timeout=60)
