"""What a dead worker has left: which code and which steps it ran, and where that code stood."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flowbook.core.ids import Key, RunId
from flowbook.core.messages import Ran
from flowbook.store import trace
from flowbook.store.mark import NOTHING_LEFT, SLOTS, Left, Mark, take


def ran(key: str, run: str = "r") -> Ran:
    return Ran(RunId(run), Key(key), "s")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "running-1"


def test_what_ran_is_left_and_taken_once(path: Path) -> None:
    mark = Mark(path)
    mark.set("r")
    first, _ = mark.begin(ran("a")), mark.begin(ran("b", "other"))
    mark.end(first)
    mark.begin(ran("c"))
    left = take(path)
    assert left.code == "r" and left.ran == (ran("c"), ran("b", "other"))
    assert left.of(RunId("other")) == (ran("b", "other"),) and left.of(RunId("x")) == ()
    assert take(path) == NOTHING_LEFT and NOTHING_LEFT.of(RunId("r")) is None


def test_nothing_is_left_of_what_has_ended(path: Path) -> None:
    mark = Mark(path)
    mark.set("a run with a long name")
    mark.set("")
    mark.end(mark.begin(ran("a")))
    assert take(path) == Left("", ())
    mark.remove()


def test_a_process_of_a_steps_own_is_left_as_a_group(path: Path) -> None:
    Mark(path).begin(ran("a"), group=4711)
    assert take(path) == Left("", (), (4711,))


def test_only_what_ran_in_the_thread_that_crashed_is_to_blame(path: Path) -> None:
    mark = Mark(path)
    mark.begin(ran("here"))
    slot = mark.begin(ran("there"))
    other = threading.Thread(target=mark.is_here, args=(slot,))
    other.start()
    other.join()
    assert other.ident is not None
    body = path.read_bytes()
    assert take(path, crashed=other.ident).ran == (ran("there"),)
    path.write_bytes(body)
    assert take(path, crashed=1).ran == (ran("here"), ran("there"))


def test_where_there_is_no_room_nobody_is_known_to_be_innocent(path: Path) -> None:
    mark = Mark(path)
    slots = [mark.begin(ran(f"{number}")) for number in range(SLOTS + 1)]
    body = path.read_bytes()
    assert take(path).ran is None
    path.write_bytes(body)
    mark = Mark(path)
    slot = mark.begin(ran("k" * 4000))
    mark.is_here(slot)
    assert slots[-1] == slot == -1
    mark.end(slot)
    assert take(path).ran == ()


def test_a_mark_that_cannot_be_read_says_nothing_of_steps(path: Path) -> None:
    mark = Mark(path)
    mark.set("r")
    mark.begin(ran("a"))
    path.write_bytes(path.read_bytes().replace(b'"run"', b"\xff\xff\xff\xff\xff"))
    assert take(path) == Left("r")


CODE = """
import faulthandler, sys
file = open(sys.argv[1], "wb")
faulthandler.enable(file)
def crash():
    import ctypes
    ctypes.string_at(0)
def hang():
    import re
    faulthandler.dump_traceback_later(0.2, file=file, exit=True)
    re.match(r"(a+)+$", "a" * 40 + "b")
exec(compile("def user(work):\\n    work()\\n", "<flow 0123abcd>", "exec"))
user({"crash": crash, "hang": hang}[sys.argv[2]])
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["crash", "hang"])
def test_python_leaves_a_trace_of_code_that_it_has_no_power_over(tmp_path: Path, how: str) -> None:
    path, script = tmp_path / "trace-1", tmp_path / "script.py"
    script.write_text(CODE)
    subprocess.run([sys.executable, str(script), str(path), how], capture_output=True)
    text = trace.take(path)
    assert trace.place(text).endswith(f" of script.py (in {how})") and not path.exists()
    assert bool(trace.crashed(text)) == (how == "crash")
    assert trace.take(path) == ""


LIBRARY = '  File "/opt/lib/python3.11/re/__init__.py", line 166 in match\n'
LOOP = '  File "/x/flowbook/worker/__main__.py", line 47 in main\n'


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", ""),
        ("Thread 0x01 (most recent call first):\n" + LIBRARY, ""),
        (
            (
                'Thread 0x01 (most recent call first):\n  File "/w/step.py", line 3 in waits\n\n'
                f'Thread 0x02 (most recent call first):\n{LIBRARY}  File "<flow 0123abcd>", line 9 in order\n{LOOP}'
            ),
            ", at line 9 of flow (in order)",
        ),
        (
            (
                f'Thread 0x02 (most recent call first):\n  File "<flow 0123abcd>", line 9 in order\n{LOOP}\n'
                'Current thread 0x01 (most recent call first):\n  File "/w/step.py", line 3 in crashes\n'
            ),
            ", at line 3 of step.py (in crashes)",
        ),
    ],
    ids=["nothing", "library", "workflow code before others", "the thread that crashed before all"],
)
def test_the_line_that_is_named(text: str, place: str) -> None:
    assert trace.place(text) == place
