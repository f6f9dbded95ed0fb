"""The step list: what a view looks like in a terminal."""

from __future__ import annotations

import re
from typing import Any

from flowbook.cli import steps
from tests.export import dealings


def view(**named: Any) -> dict[str, Any]:
    """A running view with these steps."""
    nodes = [{"id": name, "kind": "undo" if name == "delete" else "step"} for name in named]
    return {
        "workflow": "shop",
        "status": "running",
        "started": 100.0,
        "ended": None,
        "steps": named,
        "waits": [],
        "graph": {"nodes": [{"id": "params", "kind": "params"}, *nodes]},
    }


def test_each_step_has_shape_word_and_time() -> None:
    shown = steps.lines(
        view(
            load={"status": "done", "started": 100.0, "ended": 101.5, "attempt": 1},
            clean={"status": "running", "started": 101.5, "ended": None, "attempt": 2},
            report={"status": "not reached"},
        ),
        now=104.0,
    )
    assert shown == [
        "shop  ▶ running  4s",
        "  ✓ load    done         1.5s",
        "  ▶ clean   running      2.5s    attempt 2",
        "  ○ report  not reached",
    ]


def test_countdowns_errors_and_items() -> None:
    found = view(
        load={
            "status": "retrying",
            "retry_at": 107.0,
            "attempt": 2,
            "error": {"type": "OSError", "message": "no\nnet"},
        },
        score={"status": "running", "items": {"total": 9, "done": 4, "failed": 1, "running": 2}},
        approve={"status": "waiting"},
    )
    found["waits"] = [{"kind": "signal", "name": "ok", "due": 165.0, "step": "approve"}]
    said = [steps.about(name, step, found, 105.0) for name, step in found["steps"].items()]
    assert said == ["attempt 2 · again in 2s · OSError: no net", "4 of 9, 1 failed", "for signal 'ok', 1m left"]


def test_an_undo_is_shown_only_when_it_was_needed() -> None:
    assert steps.shown_names(view(create={"status": "done"}, delete={"status": "not reached"})) == ["create"]
    assert steps.shown_names(view(create={"status": "done"}, delete={"status": "done"})) == ["create", "delete"]


def test_long_lists_are_folded_to_what_goes_on() -> None:
    many = {f"s{n}": {"status": "done"} for n in range(30)} | {
        "last": {"status": "running"},
        "then": {"status": "not reached"},
    }
    shown = steps.lines(view(**many), now=101.0, height=10)
    assert len(shown) == 3 and "30 over, 1 not reached" in shown[1] and "last" in shown[2]


def test_changes_are_lines_for_a_log() -> None:
    log = steps.Log()
    assert log.lines(view(a={"status": "running", "attempt": 1, "started": 100.0}), 100.5) == ["  ▶ a  running  500ms"]
    new = view(a={"status": "done", "attempt": 1, "started": 100.0, "ended": 102.0}, b={"status": "not reached"})
    assert log.lines(new, 103.0) == ["  ✓ a  done  2s"]
    assert log.lines(new, 104.0) == []


def test_a_log_tells_no_rounds() -> None:
    log = steps.Log()

    def told(*statuses: str, run: str = "running") -> list[str]:
        found = []
        for status in statuses:
            shown = view(poll={"status": status, "attempt": 1})
            shown["graph"]["nodes"][1]["kind"] = "loop"
            shown["status"] = run
            found += [line.split()[2] for line in log.lines(shown, 100.0)]
        return found

    assert told("running", "done", "waiting", "running", "done", "waiting") == ["running"]
    assert told("running", "retrying", "running") == ["retrying", "running"]
    assert told("done", "done", "done") == ["done"]


def test_colour_is_only_added() -> None:
    plain = steps.lines(view(a={"status": "done"}), now=101.0)
    coloured = steps.lines(view(a={"status": "done"}), now=101.0, colour=True)
    assert [re.sub("\x1b\\[[0-9]*m", "", line) for line in coloured] == plain


def test_a_run_that_deals_with_others_says_so() -> None:
    going = dealings.view("going")
    told = "\n".join(steps.lines(going, going["time"]))
    for words in ("42% epoch 42 of 100", "on gpu", "provision-1.c1", "for an answer from outside", "child of fleet-9"):
        assert words in told
    (token,) = [wait["token"] for wait in going["waits"] if wait["kind"] == "outside"]
    assert f"signature: flowbook complete {token} VALUE" in told
    assert "2 open obligations, 1 failed" in told
    assert "is being cancelled: budget is used up" in "\n".join(steps.lines(dealings.view("stopping"), 1010.0))
    assert "went on as provision-1~2" in "\n".join(steps.lines(dealings.view("continued"), 1010.0))
    assert len(steps.lines(going, going["time"], height=9)) <= 10
