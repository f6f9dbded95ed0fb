"""What notebooks show: a picture that is there at once and needs nothing, and a live one where that is possible.

The static forms are made by ``export``; ``live`` holds the widgets, ``kernel`` answers them where no server can.
"""

from __future__ import annotations

from flowbook.widgets.displays import GraphDisplay, Picture, flow_graph, mimebundle, timeline

__all__ = ["GraphDisplay", "Picture", "flow_graph", "mimebundle", "timeline"]
