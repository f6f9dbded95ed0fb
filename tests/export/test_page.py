from __future__ import annotations

from flowbook.export import page
from tests.export.samples import GRAPH, view


def test_the_line_of_a_run_says_what_it_waits_for_and_what_went_wrong() -> None:
    assert page.line(view()) == (
        "provision_vm-3f2a91bc running · 3 of 9 steps done · 2 h · waits for signal 'approval'"
    )
    failed = view(status="failed", error={"type": "ValueError", "message": "no\nroom", "step": "archive"}, waits=[])
    assert page.line(failed).endswith("ValueError: no")


def test_the_fragment_has_the_same_as_tables() -> None:
    html = page.fragment(view())
    for name in view()["steps"]:
        assert name == "params" or f">{name}</td>" in html
    assert "name = &#39;vm-1&#39;" in html
    assert "fork of <code>provision_vm-11aa22bb</code> at event 7" in html


def test_a_plan_is_told_in_one_line_and_as_a_table() -> None:
    assert page.graph_line(GRAPH).startswith("graph of 9 steps: plan, create,")
    html = page.graph_fragment(GRAPH, view())
    assert "<td" in html and "map regions as region" in html and ">retrying</td>" in html


def test_the_fragment_has_nothing_that_acts_or_is_fetched() -> None:
    html = page.fragment(view())
    assert "<script" not in html and "<style" not in html and "http" not in html.replace("HTTPError", "")
