"""What Jupyter is given to show: one bundle with all forms, of which each page takes the best it knows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from flowbook.client import Client
from flowbook.client.launch import find_home
from flowbook.core.graph import Graph
from flowbook.errors import FlowbookError
from flowbook.export import page
from flowbook.export import timeline as timelines
from flowbook.export.layout import layout
from flowbook.store.home import Home

if TYPE_CHECKING:
    from flowbook.core.module import Module

RUN = "application/vnd.flowbook.run+json"
GRAPH = "application/vnd.flowbook.graph+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
RECENT = 200

Bundle = dict[str, Any]


class Run(Protocol):
    """A run, as far as displays need it."""

    id: str
    _connection: Any

    def view(self, at: int | None = None) -> dict[str, Any]: ...


class Page(Protocol):
    """A notebook or a file, as far as displays need it."""

    @property
    def path(self) -> Path: ...

    @property
    def module(self) -> Module: ...


class Picture:
    """A finished picture. Shows in notebooks; ``svg`` is its source."""

    def __init__(self, svg: str, words: str) -> None:
        self.svg = svg
        self._words = words

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Bundle:
        return {"image/svg+xml": self.svg, "text/plain": self._words}

    def __repr__(self) -> str:
        return self._words


class GraphDisplay:
    """A workflow's graph, with what its newest run did. ``graph`` is the graph itself."""

    def __init__(self, graph: Graph, view: dict[str, Any] | None = None, home: str = "", source: str = "") -> None:
        self.graph = graph if graph.layout is not None else layout(graph)
        self._view = view
        self._home = home
        self._source = source

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Bundle:
        graph = msgspec.to_builtins(self.graph)
        run = self._view["id"] if self._view else ""
        return {
            "text/plain": repr(self),
            "text/html": page.graph_fragment(graph, self._view),
            GRAPH: {"graph": graph, "view": self._view, "run": run, "home": self._home},
            **_widget("GraphWidget", graph=graph, view=self._view, home=self._home, source=self._source),
        }

    def __repr__(self) -> str:
        return page.graph_line(self.graph)


def mimebundle(run: Run) -> Bundle:
    """All forms of a run. Raises FlowbookError where its engine cannot be reached."""
    home, view = str(run._connection.client.home), run.view()
    return {
        "text/plain": page.line(view),
        "text/html": page.fragment(view),
        RUN: {"run": run.id, "home": home, "view": view},
        **_widget("RunWidget", run=run.id, home=home, view=view),
    }


def timeline(view: dict[str, Any]) -> Picture:
    """When each step of a run ran."""
    return Picture(timelines.render(view), page.line(view))


def flow_graph(flow: Page) -> GraphDisplay:
    """The graph of a notebook as it was last saved, and its newest run where there is one."""
    module, source = flow.module, str(flow.path.absolute())
    graph = module.workflows[0].graph if module.workflows else Graph()
    home = find_home()
    return GraphDisplay(graph, _newest(home, source), str(home), source)


def _newest(home: Path, source: str) -> dict[str, Any] | None:
    # Somebody who only looks at a plan starts no engine where none ever worked.
    if not Home(home).token.exists():
        return None
    try:
        with Client(home) as client:
            found = next((summary for summary in client.runs(RECENT) if summary["source"] == source), None)
            return client.view(found["id"]) if found is not None else None
    except FlowbookError:
        return None


def _widget(name: str, **traits: Any) -> Bundle:
    """The live form, where this process is a kernel that can have widgets."""
    make = _maker(name)
    if make is None:
        return {}
    return {WIDGET: {"version_major": 2, "version_minor": 0, "model_id": make(**traits).model_id}}


def _maker(name: str) -> Callable[..., Any] | None:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is None:
        return None
    try:
        from flowbook.widgets import live
    except ImportError:
        return None
    found: Callable[..., Any] = getattr(live, name)
    return found
