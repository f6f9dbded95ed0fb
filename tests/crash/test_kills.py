"""SIGKILL in the middle of runs: they finish, completed steps do not run again, timers and signals are kept.

The ledger is a file that the steps themselves write and sync: it is what really happened.
"""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from flowbook.client import Client
from flowbook.core import events as e
from flowbook.errors import EngineUnavailable, RunClosed
from tests.crash.ordeal import ordeal
from tests.crash.project import Project, encoded, eventually, kill

pytestmark = [pytest.mark.crash, pytest.mark.slow]


def test_a_killed_worker_loses_only_the_step_it_was_running(project: Project) -> None:
    project.start("r", "sequence", ledger=str(project.ledger), count=4, seconds=1.0)
    eventually(lambda: project.lines("end")["1"])
    pid = project.worker_pids()[0]
    # As soon as the next step has begun: on a busy machine what the engine says may be old.
    eventually(lambda: project.lines("begin").total() > project.lines("end").total())
    kill(pid)
    assert project.result("r") == list(range(4))
    begun, ended = project.lines("begin"), project.lines("end")
    assert set(ended.values()) == {1}
    assert sorted(begun.values()) == [1, 1, 1, 2]
    lost = [r.event for r in project.history("r") if isinstance(r.event, e.StepAttemptFailed)]
    assert [event.lost for event in lost] == [True]
    assert all("signal 9" in event.failure.message for event in lost)


@pytest.fixture
def patient(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose workers, where they live, have the time to come back that users give them."""
    monkeypatch.setenv("FLOWBOOK_RECONNECT_GRACE", "30")
    return project


def test_a_killed_engine_repeats_nothing(patient: Project) -> None:
    patient.start("r", "sequence", ledger=str(patient.ledger), count=8, seconds=0.2)
    eventually(lambda: patient.lines("end")["2"])
    before = patient.engine_pid()
    kill(before)
    assert patient.result("r") == list(range(8))
    assert patient.engine_pid() != before
    assert set(patient.lines("begin").values()) == {1}
    assert patient.recorded_steps("r") == patient.lines("end")


def test_a_killed_engine_comes_back_without_any_client(patient: Project) -> None:
    patient.start("r", "fan", ledger=str(patient.ledger), count=3, seconds=1.0)
    eventually(lambda: sum(patient.lines("begin").values()) == 3)
    pid = patient.engine_pid()
    patient.client.close()
    kill(pid)
    quiet = Client(patient.home, start=False)
    patient.client = eventually(lambda: _answers(quiet))
    assert patient.result("r") == [0, 1, 2]
    assert set(patient.lines("begin").values()) == {1}


def _answers(client: Client) -> Client | None:
    try:
        client.status()
    except EngineUnavailable:
        return None
    return client


def test_engine_and_worker_killed_together(project: Project) -> None:
    project.start("r", "mixed", ledger=str(project.ledger), count=4)
    eventually(lambda: project.lines("end")["1.1"])
    pids = [project.engine_pid(), *project.worker_pids()]
    for pid in pids:
        kill(pid)
    assert project.result("r") == [0, 1, 2, 3]
    recorded = project.recorded_steps("r")
    assert set(recorded.values()) == {1}
    assert len(recorded) == 16


def test_timers_fire_on_time_after_the_engine_was_killed(project: Project) -> None:
    project.start("r", "sleeper", seconds=6.0)
    eventually(lambda: any(isinstance(r.event, e.TimerStarted) for r in project.history("r")))
    kill(project.engine_pid())
    assert project.result("r") == "woken"
    fired = next(r for r in project.history("r") if isinstance(r.event, e.TimerFired))
    assert isinstance(fired.event, e.TimerFired)
    assert 0 <= fired.time - fired.event.due < 1.0


def test_a_signal_sent_before_the_kill_is_not_lost(project: Project) -> None:
    project.start("r", "asked", ledger=str(project.ledger))
    project.client.signal("r", "answer", encoded("yes"))
    kill(project.engine_pid())
    assert project.result("r") == "yes"
    assert project.lines("begin") == {"before": 1, "after": 1}


def test_a_signal_that_overtakes_the_code_is_not_lost(project: Project) -> None:
    """It reaches the worker between the run's history and the module that the run needs."""
    for index in range(5):
        run = f"r{index}"
        project.start(run, "asked", ledger=str(project.ledger) + run)
        project.client.signal(run, "answer", encoded(index))
        assert project.result(run) == index


def test_a_signal_to_a_dead_engine_says_so(project: Project) -> None:
    project.start("r", "asked", ledger=str(project.ledger))
    eventually(lambda: project.lines("end")["before"])
    pids = [project.engine_pid(), *project.worker_pids()]
    for pid in pids:
        kill(pid)
    with pytest.raises(EngineUnavailable, match="engine"):
        Client(project.home, start=False).signal("r", "answer", encoded("lost"))
    project.client.signal("r", "answer", encoded("arrived"))
    assert project.result("r") == "arrived"
    with pytest.raises(RunClosed, match="succeeded"):
        project.client.signal("r", "answer", encoded("late"))


def test_a_killed_kernel_leaves_its_run_alone(project: Project) -> None:
    """A kernel is a client like any other: here one that starts a run and dies at once."""
    script = f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from pathlib import Path
        from tests.crash.project import Project
        project = Project(Path({str(project.folder)!r}))
        project.start("r", "sequence", ledger={str(project.ledger)!r}, count=5, seconds=0.1)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, timeout=60)
    assert ended.returncode == -9
    assert project.result("r") == [0, 1, 2, 3, 4]
    assert set(project.lines("begin").values()) == {1}


@pytest.mark.parametrize("seed", [1])
def test_random_kills_lose_and_repeat_nothing_that_was_acknowledged(project: Project, seed: int) -> None:
    ledger = ordeal(project, 6.0, random.Random(seed))
    assert ledger.started and ledger.kills
