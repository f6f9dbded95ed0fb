"""The simulation's own parts: does it notice what is wrong? A check that never fails checks nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flowbook.core import events as e
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, Key, RunId, Seq
from flowbook.core.value import NOTHING
from flowbook.wire import codec
from tests.simulation.invariants import (
    Broken,
    check_chain,
    check_heard,
    check_history,
    check_kept,
    check_time,
    check_updates,
)
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


GOES_ON = e.RunContinued(run=RunId("r~2"))
ASKED, TOLD = e.CancelRequested(), e.TerminateRequested()
CUT_SHORT = e.UpdateFailed("u", "add", Failure("RunClosed", "the run ended"))
ANSWERED = e.UpdateCompleted("u", "add", NOTHING)
AND_ON = history(STARTED, GOES_ON)


@pytest.mark.parametrize(
    ("chain", "cancelled", "terminated", "ended", "sound"),
    [
        ([AND_ON, history(STARTED, ASKED, ENDED)], True, False, 5, True),
        ([AND_ON, history(STARTED, e.RunCancelled())], True, False, 4, True),
        ([history(STARTED, ASKED, GOES_ON), history(STARTED, ENDED)], True, False, 5, False),
        ([AND_ON, history(STARTED, TOLD, e.RunTerminated())], False, True, 5, True),
        ([history(STARTED, TOLD, GOES_ON), history(STARTED, ENDED)], False, True, 5, False),
        ([AND_ON, history(STARTED, DONE, ENDED)], False, False, 4, False),
        ([AND_ON, history(STARTED, DONE, ENDED)], False, False, 5, True),
    ],
)
def test_a_chain_that_does_not_end_as_it_was_said_is_noticed(
    chain: list[list[e.Recorded]], cancelled: bool, terminated: bool, ended: int, sound: bool
) -> None:
    said = {"r"} if cancelled else set(), {"r"} if terminated else set(), [("r", ended), ("other", 0)]
    assert sound == holds(check_chain, "r", chain, *said)


@pytest.mark.parametrize(
    ("chain", "answered", "sound"),
    [
        ([history(STARTED, ANSWERED, GOES_ON), history(STARTED, ENDED)], {"u"}, True),
        ([history(STARTED, ANSWERED, GOES_ON), history(STARTED, ANSWERED, ENDED)], {"u"}, False),
        ([AND_ON, history(STARTED, ENDED)], {"u"}, False),
        ([history(STARTED, CUT_SHORT, GOES_ON), history(STARTED, ENDED)], set(), False),
        ([AND_ON, history(STARTED, CUT_SHORT, e.RunCancelled())], set(), True),
    ],
)
def test_an_update_that_is_lost_or_handled_twice_is_noticed(
    chain: list[list[e.Recorded]], answered: set[str], sound: bool
) -> None:
    assert sound == holds(check_updates, "r", chain, answered)


def bump(value: int) -> e.SignalReceived:
    return e.SignalReceived("bump", codec.encode(value, None), f"{value}")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("heard", "acknowledged", "sound"),
    [([1, 2], {1, 2}, True), ([1], {1, 2}, True), ([2], {1, 2}, False), ([1, 1], {1}, False), ([], {1}, False)],
)
def test_a_signal_that_is_lost_or_heard_twice_is_noticed(heard: list[int], acknowledged: set[int], sound: bool) -> None:
    """The second one came when nobody listened any more."""
    last = history(STARTED, e.SignalAwaited(Key("k"), "bump"), bump(1), bump(2), ENDED)
    assert sound == holds(check_heard, "r", heard, acknowledged, last)


def test_a_child_that_lives_too_long_or_too_short_is_noticed() -> None:
    began = e.ChildStarted(Key("c"), "sink", RunId("kid"))
    chain = [history(STARTED, began, GOES_ON), history(STARTED, DONE, ENDED)]
    for ended, sound in ((history(STARTED, DONE, ASKED), True), (history(STARTED, ASKED), False), (AND_ON, False)):
        assert sound == holds(check_kept, "kid", {RunId("kid"): ended}, chain)
    assert not holds(check_kept, "kid", {}, chain)


def test_time_that_is_not_kept_is_noticed() -> None:
    late = e.RunFailed(failure=Failure("TimeoutError", "too long"))
    chain = [AND_ON, history(STARTED, late)]
    assert holds(check_time, "r", chain, 1.0, 5.0) and not holds(check_time, "r", chain, 9.0, 5.0)
    assert not holds(check_time, "r", [history(STARTED, DONE, DONE, DONE, ENDED)], 1.0, 2.0)


def holds(check: Callable[..., None], *args: object) -> bool:
    try:
        check(*args)
    except Broken:
        return False
    return True


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


def test_the_oracle_allows_for_those_who_did_not_listen_for_a_while() -> None:
    """A time limit may be over before a result is heard of, and the other way round; by so much and no more."""
    for late, may_be in ((28.0, True), (26.0, False)):
        assert fits(LIMIT, ["slept"], True, Facts({}, late=late)) == may_be
        assert fits({**LIMIT, "d": 60.0}, ["timeout"], True, Facts({}, late=late)) == may_be


def test_spans_add_up() -> None:
    assert span({"do": "sequence", "n": 0, "of": [WAIT, LIMIT, PLAIN]}) == (31.0, 31.0)
    assert span({"do": "gather", "n": 0, "of": [WAIT, LIMIT]}) == (30.0, 30.0)
