"""Queues from the command line: a worker of one's own, limits, pause, drain, and mistakes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.crash.project import eventually
from tests.end_to_end.project import Project

pytestmark = pytest.mark.slow

FLOWS = """
import asyncio
import os
import time

from flowbook import Queue, step, workflow


@step(queue=Queue("gpu", concurrency=2))
def train(n: int) -> int:
    print("training", n)
    time.sleep(0.1)
    return os.getpid()


@workflow
async def many(n: int = 4) -> list:
    return list(await asyncio.gather(*(train(i) for i in range(n))))
"""


def worker(project: Project, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "flowbook", "worker", *arguments]
    return subprocess.Popen(command, cwd=project.folder, env=project.environment, stderr=subprocess.DEVNULL)


def test_a_worker_of_ones_own_does_the_queues_steps_until_it_is_drained(project: Project) -> None:
    (project.folder / "flows.py").write_text(FLOWS)
    with worker(project, "--queue", "gpu", "--concurrency", "1") as mine:
        eventually(lambda: [w for w in project.json("workers") if w["queues"] == ["gpu"]])
        found = project.json("run", "flows.py:many", "--id", "r")
        assert set(found["result"]) == {mine.pid}
        (queue,) = [each for each in project.json("queues") if each["name"] == "gpu"]
        assert (queue["limits"]["concurrency"], queue["workers"], queue["running"]) == (2, [mine.pid], 0)
        assert project.json("worker", "drain", mine.pid) == {"pid": mine.pid, "draining": True}
        assert mine.wait(20) == 0
    again = project.json("run", "flows.py:many")
    assert mine.pid not in again["result"]


def test_a_queue_is_set_paused_and_resumed(project: Project) -> None:
    (project.folder / "flows.py").write_text(FLOWS)
    assert project.json("queue", "pause", "gpu", "--reason", "lunch")["paused"]
    project("run", "flows.py:many", "--id", "r", "--detach")
    eventually(lambda: [q["waiting"] for q in project.json("queues") if q["name"] == "gpu"] == [4])
    project("queue", "set", "gpu", "--concurrency", "3", "--rate", "10/s")
    assert "paused: lunch; 3 at once, 10/s" in project("queues").stdout
    project("queue", "resume", "gpu")
    assert project.json("watch", "r")["status"] == "succeeded"
    assert project.json("queue", "set", "gpu", "--reset")["limits"]["concurrency"] == 2


def test_a_queue_that_was_mistyped_is_new_and_can_be_deleted(project: Project) -> None:
    (project.folder / "flows.py").write_text(FLOWS)
    project("run", "flows.py:many")
    said = project("queue", "pause", "gpuu").stdout
    assert said.startswith("new queue gpuu is paused") and "flowbook queue delete gpuu" in said
    assert project.json("queue", "set", "gpu", "--rate", "9/s")["new"] is False
    assert "Did you mean 'gpuu'?" in project("queue", "resume", "gpuuu", code=2).stderr
    assert "is deleted" in project("queue", "delete", "gpuu").stdout
    assert "there is no queue 'gpuu'. Did you mean 'gpu'?" in project("queue", "delete", "gpuu", code=2).stderr
    project("engine", "stop")
    # What the code said of a queue is known to the next engine, what was deleted is not.
    (gpu,) = [queue for queue in project.json("queues") if queue["name"].startswith("gpu")]
    assert (gpu["name"], gpu["limits"]["concurrency"], gpu["limits"]["rate"]) == ("gpu", 2, "9/s")


def test_a_worker_that_is_terminated_leaves_in_order(project: Project) -> None:
    with worker(project, "--queue", "gpu") as mine:
        eventually(lambda: [w for w in project.json("workers") if w["queues"] == ["gpu"]])
        mine.terminate()
        assert mine.wait(20) == 0


MISTAKES = {
    "a rate that is none": (("queue", "set", "gpu", "--rate", "10/x"), "'10/x' is not a rate"),
    "nothing at once": (("queue", "set", "gpu", "--concurrency", "0"), "--concurrency is 0"),
    "a limit that does not exist": (("queue", "set", "gpu", "--speed", "9"), "it takes no --speed"),
    "the queue of all": (("queue", "pause", "default"), "cannot be paused, limited or deleted"),
    "a limit for the queue of all": (("queue", "set", "default", "--concurrency", "2"), "queue of its own"),
    "a queue that is not there": (("queue", "resume", "gpu"), "there is no queue 'gpu'"),
    "one that cannot be deleted": (("queue", "delete", "gpu"), "there is no queue 'gpu'"),
    "a name that can be none": (("queue", "pause", "a/b"), "cannot be the name of a queue"),
    "no action": (("queue",), "ACTION"),
    "a worker of a queue that can be none": (("worker", "--queue", "a b"), "cannot be the name of a queue"),
    "a worker that takes nothing": (("worker", "--concurrency", "0"), "--concurrency is 0"),
    "a grace that is no time": (("worker", "--grace", "soon"), "not a duration"),
    "a worker that is not there": (("worker", "drain", "1"), 'no worker "1"'),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_said_and_leaves_with_2(project: Project, name: str) -> None:
    arguments, said = MISTAKES[name]
    assert said in project(*arguments, code=2).stderr


CODE = {
    "no rate": ('Queue("gpu", rate="10/x")', "not a rate"),
    "nothing at once": ('Queue("gpu", concurrency=0)', "whole number from 1"),
    "an option that does not exist": ('Queue("gpu", speed=9)', "speed"),
    "a name that can be none": ('"a/b"', "cannot be the name"),
    "no queue at all": ("42", "write its name"),
}


@pytest.mark.parametrize("name", CODE)
def test_a_mistake_in_code_is_said_before_anything_runs(project: Project, name: str) -> None:
    queue, said = CODE[name]
    (project.folder / "flows.py").write_text(FLOWS.replace('Queue("gpu", concurrency=2)', queue))
    found = project("run", "flows.py:many", code=None)
    assert found.returncode != 0 and said in found.stderr + found.stdout


def test_a_notebooks_step_runs_in_its_queue(project: Project) -> None:
    project.notebook(
        "shop.ipynb",
        "import os",
        "#| params\nsize = 3",
        "#| step: load\nhere = os.getpid()\nrows = list(range(size))",
        "#| step: score\n#| map: rows as row\n#| queue: gpu\npoints = row * 10\nthere = os.getpid()",
        "#| step: total\nsum_of_all = sum(points)",
    )
    found = project.json("run", "shop.ipynb")
    assert found["result"]["sum_of_all"] == 30
    assert found["result"]["here"] not in found["result"]["there"]
    project.notebook("bad.ipynb", "#| step: load\n#| queue: a/b\nrows = 1")
    assert "cannot be the name of a queue" in project("check", "bad.ipynb", code=2).stdout
