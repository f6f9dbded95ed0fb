"""What holds for every history and every pair of views."""

import copy
import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from flowbook.core import events as e
from flowbook.core.patch import difference, patched
from flowbook.core.view import RunView, view, view_at

from .histories import CLOSED, HISTORIES, MODULE

law = settings(derandomize=True)

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)
STATUSES = {
    *("not reached", "queued", "running", "retrying", "waiting", "done", "reused", "failed", "cancelled", "skipped")
}


@law
@given(_json, _json)
def test_a_patch_turns_the_old_into_the_new(old: Any, new: Any) -> None:
    before = copy.deepcopy(old)
    patch = json.loads(json.dumps(difference(old, new)))
    assert patched(old, patch) == new
    assert old == before


@law
@given(_json)
def test_nothing_changed_is_no_patch(data: Any) -> None:
    assert difference(data, copy.deepcopy(data)) == []


@law
@given(HISTORIES)
def test_patches_from_event_to_event_make_the_whole(history: list[e.Recorded]) -> None:
    fold, seen = RunView(MODULE), None
    for recorded in history:
        fold.apply(recorded)
        fresh = fold.shown()
        seen = (
            fresh if seen is None else patched(seen, msgspec.json.decode(msgspec.json.encode(difference(seen, fresh))))
        )
    assert msgspec.to_builtins(seen) == msgspec.to_builtins(view(history, MODULE))


@law
@given(HISTORIES, st.data())
def test_a_view_once_given_does_not_change(history: list[e.Recorded], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(history)))
    fold = RunView(MODULE)
    for recorded in history[:cut]:
        fold.apply(recorded)
    given_away = fold.shown()
    frozen = copy.deepcopy(given_away)
    for recorded in history[cut:]:
        fold.apply(recorded)
    assert given_away == frozen == view_at(history, MODULE, cut)


@law
@given(HISTORIES)
def test_a_view_is_json_and_says_known_words(history: list[e.Recorded]) -> None:
    shown = view(history, MODULE)
    json.dumps(shown)
    assert {step["status"] for step in shown["steps"].values()} <= STATUSES
    for step in shown["steps"].values():
        if step["progress"]:
            assert set(step["progress"]) == {"done", "total", "text"}
        if step["items"]:
            assert sum(step["items"][name] for name in ("done", "failed", "running")) <= len(step["grid"])


@law
@given(CLOSED)
def test_a_closed_run_leaves_nothing_going_on(history: list[e.Recorded]) -> None:
    shown = view(history, MODULE)
    assert shown["status"] in ("succeeded", "failed", "cancelled", "terminated", "continued")
    assert all(entry["ended"] is not None for what in ("children", "sent", "updates") for entry in shown[what])
    assert shown["waits"] == []
    for step in shown["steps"].values():
        assert step["status"] not in ("running", "retrying", "waiting", "queued")
        assert all(attempt["ended"] is not None for attempt in step["attempts"])
        assert all(end is not None for _, end in step["pauses"])
        assert step["items"] is None or step["items"]["running"] == 0


@law
@given(HISTORIES)
def test_without_a_module_there_is_still_a_view(history: list[e.Recorded]) -> None:
    shown = view(history, None)
    assert shown["id"] == "r-1"
    assert shown["seq"] == len(history)
