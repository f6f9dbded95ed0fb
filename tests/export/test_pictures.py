from __future__ import annotations

from base64 import b64decode
from re import findall
from xml.etree import ElementTree

import pytest

from flowbook.export import dot, mermaid, page, svg, timeline
from flowbook.export.style import GLYPHS, STATUSES, face
from flowbook.export.text import clock, duration, escaped, fitted, number
from tests.export.samples import GRAPH, START, attempt, hostile, step, view

SVG = "{http://www.w3.org/2000/svg}"


def texts(picture: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def active(picture: str) -> list[str]:
    root = ElementTree.fromstring(picture)
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    names = {name for element in root.iter() for name in element.attrib}
    return sorted(tags & {"script", "img", "foreignObject", "image", "a", "use"}) + sorted(
        name for name in names if name.startswith("on") or name.endswith("href")
    )


def test_a_plan_names_every_step_and_what_goes_through_it() -> None:
    shown = texts(svg.render(GRAPH))
    assert {node.id for node in GRAPH.nodes if node.kind != "params"} <= set(shown)
    assert {"region, size", "region, size → name", "→ approved", "map regions as region"} <= set(shown)


def test_a_run_says_its_statuses_in_words_and_names_each_node_in_full() -> None:
    root = ElementTree.fromstring(svg.render(GRAPH, view()))
    labels = {
        group.attrib["data-step"]: group.attrib["aria-label"] for group in root.iter() if "data-step" in group.attrib
    }
    assert labels["create"] == "create, done, attempt 2, 5.7 s, reads name, writes vm"
    assert labels["record"].startswith("record, retrying, HTTPError, attempt 3 in 2.8 s")
    assert labels["fetch"].startswith("fetch, running, 29 of 46, 1 failed")
    assert root.attrib["aria-label"] == "Run provision_vm-3f2a91bc of provision_vm: running, 3 of 9 steps done"


def test_hostile_names_and_values_stay_text_everywhere() -> None:
    graph, run = hostile()
    pictures = [svg.render(graph), svg.render(graph, run), timeline.render(run)]
    for html in (page.fragment(run), page.graph_fragment(graph, run)):
        assert "<script" not in html
        assert "<img src=x" not in html
        pictures += [b64decode(data).decode() for data in findall(r"data:image/svg\+xml;base64,([^\"]+)", html)]
    assert len(pictures) > 5
    for picture in pictures:
        assert active(picture) == []
    assert "<script" not in mermaid.render(graph)


def test_dot_text_with_hostile_names_is_read_back_as_names() -> None:
    pygraphviz = pytest.importorskip("pygraphviz", exc_type=ImportError)
    graph = GRAPH
    drawn = pygraphviz.AGraph(string=dot.render(graph))
    assert set(drawn.nodes()) == {node.id for node in graph.nodes}
    quoted = dot.render(hostile()[0])
    assert quoted.count("\n") < 40


@pytest.mark.parametrize("status", sorted(STATUSES))
def test_every_status_has_a_shape_a_word_and_a_family(status: str) -> None:
    family, glyph = face(status)
    assert family in ("idle", "running", "waiting", "done", "failed")
    assert glyph in GLYPHS
    if status in ("lost", "succeeded", "paused"):
        return
    picture = svg.render(GRAPH, view(steps={"plan": step(status)}))
    assert any(text.startswith(status) for text in texts(picture))
    assert f"fb-badge fb-{family}" in picture


def test_statuses_of_one_family_differ_in_their_shape() -> None:
    shapes = {}
    for status in ("not reached", "queued", "skipped", "cancelled", "running", "retrying", "waiting", "done", "failed"):
        family, glyph = face(status)
        assert shapes.setdefault((family, glyph), status) == status


def test_a_timeline_cuts_idle_time_and_says_how_much() -> None:
    shown = texts(timeline.render(view()))
    assert "// 2 h" in shown
    assert [name for name in shown if name in ("plan", "create", "record")] == ["plan", "create", "record"]
    assert "cool_down" not in shown


def test_a_timeline_of_nothing_says_so() -> None:
    assert "No step has begun." in texts(timeline.render(view(steps={})))


def test_a_timeline_survives_attempts_without_length_and_equal_times() -> None:
    run = view(steps={"plan": step("done", attempt(0, 0))}, ended=START, time=START, status="succeeded")
    assert "done · 0 ms" in texts(timeline.render(run))


def test_mermaid_draws_undos_dashed_and_waits_as_hexagons() -> None:
    lines = mermaid.render(GRAPH).splitlines()
    assert lines[0] == "flowchart TB"
    assert any("{{" in line and "approval" in line for line in lines)
    assert any("-.->|undo|" in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 ms"), (0.35, "350 ms"), (4.25, "4.3 s"), (59.4, "59 s"), (185, "3 min 5 s"), (7800, "2 h 10 min"),
     (273600, "3 d 4 h"), (-1, "0 ms")],
)  # fmt: skip
def test_durations_are_written_as_people_do(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_small_writing_rules() -> None:
    assert [clock(0), clock(5), clock(185), clock(7800)] == ["0", "5 s", "3:05", "2:10:00"]
    assert [number(3.0), number(3.14), number(-0.26)] == ["3", "3.1", "-0.3"]
    assert fitted("abcdef", 30, 10) == "ab…"
    assert escaped("a\x00\ud800<&>\"'") == "a  &lt;&amp;&gt;&quot;&#39;"
