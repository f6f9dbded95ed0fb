"""Runs, signals and SIGKILLs at random for as long as one likes, with a ledger of what was acknowledged.

``python -m tests.crash.ordeal --minutes 5 [--seed 7]`` (``make kills``) says what happened; tests run a short one.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from flowbook.client import schedule_asks
from flowbook.core import events as e
from flowbook.core.schedule import ScheduledStart, ScheduleSpec
from flowbook.core.value import shown
from flowbook.errors import EngineUnavailable
from tests.crash.project import Project, encoded, kill

SHAPES = ("mixed", "asked", "sequence", "sleeper", "queued")
AT_ONCE = 2
"""Steps of the queue, as the project's code says it."""


@dataclass
class Ledger:
    """What was acknowledged: runs by id and shape, and the answers that were sent."""

    started: dict[str, str] = field(default_factory=dict)
    answered: dict[str, str] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    ticks: int = 0


def ordeal(project: Project, seconds: float, chance: random.Random, pause: tuple[float, float] = (0.2, 1.2)) -> Ledger:
    """Start, answer and kill for so long; then everything that was acknowledged is there, once, and complete."""
    ledger = Ledger()
    end = time.monotonic() + seconds
    _schedule(project)
    while time.monotonic() < end:
        for _ in range(chance.randint(1, 3)):
            _start(project, ledger, chance)
        _answer_some(project, ledger, chance)
        time.sleep(chance.uniform(*pause))
        _kill_somebody(project, ledger, chance)
    for run, shape in ledger.started.items():
        if shape == "asked" and run not in ledger.answered:
            _answer(project, ledger, run)
    project.client.ask(schedule_asks.pause("tick", "the ordeal is over"))
    for run, shape in ledger.started.items():
        _check(project, ledger, run, shape)
    _check_queue(project, [run for run, shape in ledger.started.items() if shape == "queued"])
    ledger.ticks = _check_schedule(project)
    return ledger


def _schedule(project: Project) -> None:
    """A run every second, whatever happens."""
    start = ScheduledStart("sleeper", project.module.digest, project.place, {"seconds": encoded(0.2)})
    spec = ScheduleSpec(run=start, every=1.0, overlap="allow_all")
    project.client.ask(schedule_asks.set_schedule("tick", spec))


def _check_queue(project: Project, runs: list[str]) -> None:
    """Never more at once than the queue allows, by what is recorded."""
    changes: list[tuple[float, int]] = []
    for run in runs:
        begun: set[str] = set()
        for recorded in project.history(run):
            event = recorded.event
            if isinstance(event, e.StepStarted):
                begun.add(event.key)
                changes.append((recorded.time, 1))
            elif isinstance(event, e.StepCompleted | e.StepAttemptFailed | e.StepFailed) and event.key in begun:
                begun.discard(event.key)
                changes.append((recorded.time, -1))
    running = 0
    # What ends in the same commit makes room first.
    for _, change in sorted(changes):
        running += change
        assert running <= AT_ONCE, runs


def _check_schedule(project: Project) -> int:
    """Every second was decided once and has its run, and each of the runs has ended well."""
    query = (
        "select body ->> '$.at', body ->> '$.run' from events where run = '$schedule/tick' and kind = 'ScheduleFired'"
    )
    fired = [(float(at), str(run)) for at, run in project.client.sql(f"{query} order by seq", 100_000)["rows"]]
    times = [at for at, _ in fired]
    assert times == [times[0] + number for number in range(len(times))], times
    assert len({run for _, run in fired}) == len(fired)
    for _, run in fired:
        assert project.result(run) == "woken"
    return len(fired)


def _start(project: Project, ledger: Ledger, chance: random.Random) -> None:
    run, shape = f"r{len(ledger.started)}", chance.choice(SHAPES)
    path = f"{project.ledger}-{run}"
    match shape:
        case "mixed":
            project.start(run, shape, ledger=path, count=2)
        case "asked":
            project.start(run, shape, ledger=path)
        case "sequence" | "queued":
            project.start(run, shape, ledger=path, count=4, seconds=0.05)
        case _:
            project.start(run, shape, seconds=chance.uniform(0.1, 2.0))
    ledger.started[run] = shape


def _answer_some(project: Project, ledger: Ledger, chance: random.Random) -> None:
    waiting = [run for run, shape in ledger.started.items() if shape == "asked" and run not in ledger.answered]
    if waiting and chance.random() < 0.5:
        _answer(project, ledger, chance.choice(waiting))


def _answer(project: Project, ledger: Ledger, run: str) -> None:
    project.client.signal(run, "answer", encoded(run), f"answer-{run}")
    ledger.answered[run] = run


def _kill_somebody(project: Project, ledger: Ledger, chance: random.Random) -> None:
    try:
        engine, workers = project.engine_pid(), project.worker_pids()
    except EngineUnavailable:
        return
    whom = chance.choice(("engine", "worker", "both", "nobody"))
    ledger.kills[whom] += 1
    for pid in ([engine] if whom in ("engine", "both") else []) + (workers if whom in ("worker", "both") else []):
        kill(pid, missing_ok=True)


def _check(project: Project, ledger: Ledger, run: str, shape: str) -> None:
    result = project.result(run, 120.0)
    four = list(range(4))
    expected = {"mixed": [0, 1], "asked": run, "sequence": four, "queued": four, "sleeper": "woken"}[shape]
    assert result == expected, (run, shape, result)
    history = project.history(run)
    assert [recorded.seq for recorded in history] == list(range(1, len(history) + 1)), run
    assert [isinstance(recorded.event, e.CLOSING) for recorded in history].index(True) == len(history) - 1, run
    settled = [r.event.key for r in history if isinstance(r.event, e.StepCompleted | e.StepFailed | e.TimerFired)]
    assert len(settled) == len(set(settled)), run
    signals = [shown(r.event.value) for r in history if isinstance(r.event, e.SignalReceived)]
    assert signals == ([run] if shape == "asked" else []), run
    if shape != "sleeper":
        written = {
            line.split()[1] for line in Path(f"{project.ledger}-{run}").read_text().splitlines() if "end" in line
        }
        assert written == set(project.recorded_steps(run)), run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.ordeal", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="flowbook-ordeal-", ignore_cleanup_errors=True) as folder:
        project = Project(Path(folder))
        try:
            ledger = ordeal(project, options.minutes * 60, random.Random(options.seed))
        finally:
            project.close()
    kills = ", ".join(f"{whom} {count}" for whom, count in sorted(ledger.kills.items()))
    counts = f"{len(ledger.started)} runs, {len(ledger.answered)} answers, {ledger.ticks} times of a schedule"
    print(f"{counts}, kills: {kills}. Nothing lost, nothing twice.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
