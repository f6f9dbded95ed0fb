"""The live drawing in the browser and the pictures made here are the same, character by character."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

import flowbook.widgets
from flowbook.core.graph import Graph
from flowbook.core.patch import difference
from flowbook.export import style, svg, text, timeline
from flowbook.export.card import badge
from flowbook.export.layout import layout
from tests.export import dealings
from tests.export.samples import GRAPH, START, attempt, hostile, step, view

FOLDER = Path(str(flowbook.widgets.__file__)).parent
SCRIPT = """
import { readFileSync } from 'node:fs';
const draw = await import(process.argv[1]);
const found = JSON.parse(readFileSync(0, 'utf8')).map(([name, given]) => draw[name](...given));
process.stdout.write(JSON.stringify(found));
"""


def in_javascript(calls: list[tuple[str, list[Any]]], folder: Path) -> list[Any]:
    """What functions of draw.js give for these arguments."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    module = folder / "draw.mjs"
    shutil.copy(FOLDER / "draw.js", module)
    command = [node, "--input-type=module", "-e", SCRIPT, module.as_uri()]
    done = subprocess.run(command, input=json.dumps(calls).encode(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    found: list[Any] = json.loads(done.stdout)
    return found


def cases() -> list[tuple[Graph, dict[str, Any] | None]]:
    every = {name: step(name, attempt(1, 2, name)) for name in style.STATUSES}
    nodes = tuple(
        msgspec.structs.replace(GRAPH.nodes[1], id=name, cell_number=number) for number, name in enumerate(every)
    )
    statuses = layout(Graph(nodes))
    ended = view(ended=START + 7220.0, status="failed", time=START + 7220.0)
    quick = view(steps={"plan": step("done", attempt(0, 0))}, time=START, ended=START, status="succeeded")
    waited = step("done", attempt(0, 1), attempt(8, 9), pauses=[[START + 1, START + 8]], rounds=2)
    return [
        (layout(GRAPH), None),
        (layout(GRAPH), view()),
        (layout(GRAPH), ended),
        (layout(GRAPH), quick),
        (layout(GRAPH), view(steps={"wait_until_ready": waited}, time=START + 90061.0)),
        (statuses, view(steps=every, graph=msgspec.to_builtins(statuses))),
        (layout(hostile()[0]), hostile()[1]),
        *((msgspec.convert(dealings.view(end)["graph"], Graph), dealings.view(end)) for end in dealings.ENDS),
    ]


def test_graphs_and_timelines_are_drawn_alike(tmp_path: Path) -> None:
    calls: list[tuple[str, list[Any]]] = []
    here: list[str] = []
    for graph, run in cases():
        calls.append(("graphSVG", [msgspec.to_builtins(graph), run]))
        here.append(svg.render(graph, run, css=False))
        if run is not None:
            calls.append(("timelineSVG", [run, 820]))
            here.append(timeline.render(run, 820, css=False))
    assert in_javascript(calls, tmp_path) == here


def test_numbers_and_texts_are_written_alike(tmp_path: Path) -> None:
    seconds = [
        0,
        0.0004,
        0.05,
        0.35,
        0.9994,
        0.9996,
        1,
        1.25,
        9.94,
        9.96,
        59.4,
        59.6,
        3599.6,
        3661,
        86399.7,
        90000,
        1e7,
    ]
    numbers = [0, 0.04, 0.05, 0.25, -0.04, -0.06, -12.34, 1e6, 3.999]
    strings = ["plain", "<b>\"&'", "\x00\x1f\x7f", "naïve 😀", "\ud800 alone", "😀\udc00", "\ufffe"]
    calls = [("duration", [s]) for s in seconds] + [("number", [n]) for n in numbers]
    here = [text.duration(s) for s in seconds] + [text.number(n) for n in numbers]
    assert in_javascript([*calls, *(("escaped", [s]) for s in strings)], tmp_path) == [
        *here,
        *map(text.escaped, strings),
    ]


def test_patches_are_applied_alike(tmp_path: Path) -> None:
    steps: list[tuple[Any, Any]] = [
        ({"a": 1, "b": {"c": [1, 2]}}, {"b": {"c": [1, 2, 3], "d": None}}),
        ({"l": [1, 2, 3]}, {"l": [1]}),
        ({"l": [{"a": 1}, {"b": 2}]}, {"l": [{"a": 1, "x": []}, {}, "new"]}),
        ({}, {"__proto__x": {"y": 1}}),
        ([], {"a": 1}),
        (view(), view(status="failed", ended=START + 9, steps={"plan": step("done", attempt(0, 1))})),
    ]
    calls: list[tuple[str, list[Any]]] = [("applyPatch", [old, difference(old, new)]) for old, new in steps]
    new_ones = json.loads(json.dumps([new for _, new in steps]))
    assert in_javascript(calls, tmp_path) == new_ones


def test_the_style_sheet_of_the_browser_begins_with_the_one_of_the_pictures() -> None:
    sheet = (FOLDER / "draw.css").read_text(encoding="utf-8")
    assert sheet.startswith(style.CSS), "write export.style.CSS to the head of widgets/draw.css"


def test_the_tables_of_statuses_and_glyphs_are_the_same(tmp_path: Path) -> None:
    calls: list[tuple[str, list[Any]]] = [("badge", [status]) for status in (*style.STATUSES, "new", "constructor")]
    assert in_javascript(calls, tmp_path) == [badge(status) for status in (*style.STATUSES, "new", "constructor")]
