"""What a run has to do with others is said in every static form."""

from __future__ import annotations

import pytest

from flowbook.export import page, svg, timeline
from tests.export.dealings import ENDS, view
from tests.export.samples import HOSTILE


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (
            "going",
            ["child of fleet-9", "in queue builds", "2 open obligations, 1 failed", "Ines", "an answer from outside"],
        ),
        ("stopping", ["is being cancelled: budget is used up"]),
        ("terminated", ["terminated: wrong region", "2 open obligations, 1 failed"]),
        ("continued", ["went on as provision-1~2"]),
        ("late", ["TimeoutError"]),
    ],
)
def test_it_is_said_in_a_line_and_on_a_page(end: str, words: list[str]) -> None:
    whole = page.line(view(end)) + page.fragment(view(end))
    for each in words:
        assert each in whole


def test_who_waits_outside_has_the_token_on_the_page() -> None:
    going = view("going")
    (token,) = [wait["token"] for wait in going["waits"] if wait["kind"] == "outside"]
    assert token in page.fragment(going)


def test_a_card_says_how_far_and_where() -> None:
    drawn = svg.render(view("going")["graph"], view("going"))
    assert "42% epoch 42 of 100" in drawn
    assert 'class="fb-fill"' in drawn
    assert "provision-1.c1" in drawn
    assert "on gpu" in timeline.render(view("going"))
    assert "HTTPError: 503" in timeline.render(view("going"))


@pytest.mark.parametrize("end", sorted(ENDS))
def test_no_text_becomes_markup(end: str) -> None:
    run = view(end)
    bad = {
        "key": "k",
        "name": HOSTILE,
        "what": HOSTILE,
        "status": "failed",
        "since": 0.0,
        "ended": None,
        "error": HOSTILE,
    }
    run |= {"obligations": [bad], "reason": HOSTILE, "next": HOSTILE, "attributes": {HOSTILE: HOSTILE}}
    whole = page.fragment(run)
    assert "<script" not in whole
    assert "onerror=alert" not in whole.replace("&lt;img src=x onerror=alert", "")
