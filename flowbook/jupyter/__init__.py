"""Flowbook inside Jupyter: the server extension, the magics, and where the built labextension lies.

Nothing here runs workflows: requests go on to the engine through ``client``, and never through a kernel.
"""

from __future__ import annotations

from typing import Any


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "../labextension", "dest": "flowbook"}]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from flowbook.jupyter.server import FlowbookServer

    return [{"module": "flowbook.jupyter", "app": FlowbookServer}]


__all__: list[str] = []
