"""The simulation's own parts: does it notice what is wrong? A check that never fails checks nothing."""

from __future__ import annotations

import pytest

from flowbook.core import events as e
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, Key, RunId, Seq
from flowbook.core.value import NOTHING
from tests.simulation.invariants import Broken, check_history
from tests.simulation.trees import Facts, fits, span

STARTED = e.RunStarted(run=RunId("r"), workflow="sink", module=Digest("m"), place=e.Place("/", "python"))
DONE = e.StepCompleted(key=Key("k"), step="s", value=NOTHING)
ENDED = e.RunCompleted(value=NOTHING)
FAILED = e.StepAttemptFailed(key=Key("k"), step="s", attempt=1, failure=Failure(type="E", message=""), retry_at=0.0)


def history(*events: e.AnyEvent) -> list[e.Recorded]:
    return [e.Recorded(Seq(number), float(number), event) for number, event in enumerate(events, 1)]


def test_a_sound_history_is_sound() -> None:
    check_history("r", history(STARTED, FAILED, DONE, ENDED))


@pytest.mark.parametrize(
    "events",
    [
        history(DONE),
        history(STARTED, STARTED),
        history(STARTED, ENDED, DONE),
        history(STARTED, ENDED, ENDED),
        history(STARTED, DONE, DONE),
        history(STARTED, DONE, FAILED),
        history(STARTED, e.TimerFired(key=Key("t")), e.TimerFired(key=Key("t"))),
        history(STARTED, *[e.SignalReceived(name="go", value=NOTHING, id="1")] * 2),
        history(STARTED, DONE)[1:],
        [*history(STARTED), e.Recorded(Seq(3), 3.0, DONE)],
        [*history(STARTED), e.Recorded(Seq(2), 0.0, DONE)],
    ],
)
def test_an_unsound_history_is_noticed(events: list[e.Recorded]) -> None:
    with pytest.raises(Broken):
        check_history("r", events)


PLAIN = {"do": "plain", "n": 1}
WAIT = {"do": "sleep", "n": 2, "d": 30.0}
LIMIT = {"do": "timeout", "n": 3, "d": 1.0, "how": "anyio", "of": [WAIT]}


@pytest.mark.parametrize(
    ("tree", "result", "calm", "stormy"),
    [
        (PLAIN, ["ok", 1], True, True),
        (PLAIN, ["ok", 2], False, False),
        (PLAIN, None, False, False),
        (LIMIT, ["timeout"], True, True),
        (LIMIT, ["slept"], False, True),
        ({**LIMIT, "d": 3600.0}, ["timeout"], False, True),
        ({"do": "gather", "n": 4, "of": [PLAIN, WAIT]}, ["all", [["ok", 1], ["slept"]]], True, True),
        ({"do": "gather", "n": 4, "of": [PLAIN, WAIT]}, ["all", [["slept"], ["ok", 1]]], False, False),
        ({"do": "first", "n": 4, "of": [PLAIN, WAIT]}, ["first", [["ok", 1], None]], True, True),
        ({"do": "first", "n": 4, "of": [PLAIN, WAIT]}, ["first", [None, None]], False, False),
        ({"do": "signal", "n": 5, "name": "s", "count": 2, "d": 1.0}, ["got", [7, None]], True, True),
        ({"do": "signal", "n": 5, "name": "s", "count": 2, "d": None}, ["got", [7, None]], False, False),
        ({"do": "signal", "n": 5, "name": "s", "count": 2, "d": None}, ["got", [8, 7]], False, False),
    ],
)
def test_the_oracle_tells_results_apart(tree: dict, result: object, calm: bool, stormy: bool) -> None:  # type: ignore[type-arg]
    facts = Facts({"s": [7, 8]})
    assert fits(tree, result, True, facts) == calm
    assert fits(tree, result, False, facts) == stormy


def test_spans_add_up() -> None:
    assert span({"do": "sequence", "n": 0, "of": [WAIT, LIMIT, PLAIN]}) == (31.0, 31.0)
    assert span({"do": "gather", "n": 0, "of": [WAIT, LIMIT]}) == (30.0, 30.0)
