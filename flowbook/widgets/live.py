"""The anywidgets. Imported only where a kernel and anywidget are at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from flowbook.widgets import assets
from flowbook.widgets.kernel import Answering


class _Live(anywidget.AnyWidget):
    """What both have: where the run is, and what was last seen of it."""

    _esm = assets.module()
    _css = assets.style()
    shape = traitlets.Unicode("run").tag(sync=True)
    home = traitlets.Unicode().tag(sync=True)
    view = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._answering = Answering(Path(self.home), self._say) if self.home else None
        self.on_msg(self._heard)

    def close(self) -> None:
        """Take the widget out of all pages."""
        if self._answering is not None:
            self._answering.close()
        super().close()

    def _heard(self, _: Any, message: object, buffers: Any) -> None:
        if self._answering is not None:
            self._answering.receive(message)

    def _say(self, message: dict[str, Any]) -> None:
        if self.comm is not None:
            self.send(message)


class RunWidget(_Live):
    """One run in full: graph, timeline and events under one scrubber."""

    run = traitlets.Unicode().tag(sync=True)


class GraphWidget(_Live):
    """A workflow's graph, coloured by its newest run; ``source`` is the file whose runs count."""

    shape = traitlets.Unicode("graph").tag(sync=True)
    graph = traitlets.Dict().tag(sync=True)
    source = traitlets.Unicode().tag(sync=True)
