"""What a step shows: ``display`` and printed text, as chunks of its recorded output.

The worker says where chunks go by setting ``sink`` for the attempt; without one, ``display`` is the ordinary one.
"""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import msgspec

from flowbook.core.events import Chunk
from flowbook.core.text import writable

Send = Callable[[Chunk], None]

sink: ContextVar[Send | None] = ContextVar("flowbook_output", default=None)
of_process: Send | None = None
"""Where output goes of all else in a process that is there for one step."""

_encode = msgspec.json.Encoder().encode

_METHODS = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_latex_": "text/latex",
    "_repr_json_": "application/json",
}


MOST = 64 * 1024
"""Characters that are kept of what workflow code prints between two waits."""


def current() -> Send | None:
    """Where output goes here; None where it goes nowhere in particular."""
    return sink.get() or of_process


def joined(chunks: Sequence[Chunk]) -> tuple[Chunk, ...]:
    """Chunks with the texts of a stream put together, cut where it is too much."""
    found: list[Chunk] = []
    room = MOST
    for chunk in chunks:
        if len(chunk.text) > room:
            found.append(Chunk(stream=chunk.stream, text=f"{chunk.text[:room]}\n… more was printed\n"))
            break
        room -= len(chunk.text)
        last = found[-1] if found else None
        if last is not None and last.stream == chunk.stream and not (last.data or chunk.data):
            found[-1] = Chunk(stream=chunk.stream, text=last.text + chunk.text)
        else:
            found.append(chunk)
    return tuple(found)


def display(*objects: Any) -> None:
    """Record the objects with the step; outside a run show them as IPython would, or print them."""
    send = current()
    for shown in objects:
        if shown is None:
            continue
        if send is not None:
            send(Chunk(stream="display", data=bundle(shown)))
        elif "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
            sys.modules["IPython"].display.display(shown)
        else:
            sys.stdout.write(f"{shown!r}\n")


def bundle(shown: Any) -> dict[str, Any]:
    """The object's MIME bundle; images as base64 text. A representation that fails is left out."""
    data: dict[str, Any] = {"text/plain": writable(_safely(lambda: repr(shown)) or f"<{type(shown).__name__}>")}
    figure = _figure(shown)
    if figure is not None:
        return {**data, "image/png": figure}
    whole = _safely(lambda: shown._repr_mimebundle_())
    if whole is not None:
        found = whole[0] if isinstance(whole, tuple) else whole
        return {**data, **{str(kind): _writable(_text(body)) for kind, body in found.items() if body is not None}}
    for method, kind in _METHODS.items():
        body = _safely(lambda method=method: getattr(shown, method)())  # type: ignore[misc]
        if body is not None:
            data[kind] = _writable(_text(body[0] if isinstance(body, tuple) else body))
    return data


def _figure(shown: Any) -> str | None:
    """PNG of a matplotlib figure, or of the figure an Axes belongs to."""
    if "matplotlib" not in sys.modules:
        return None
    figure = getattr(shown, "figure", None)
    if figure is None or not hasattr(figure, "savefig"):
        return None
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()


def _text(body: Any) -> Any:
    return base64.b64encode(body).decode() if isinstance(body, bytes) else body


def _writable(body: Any) -> Any:
    """The same, where it can be recorded; else as text."""
    try:
        encoded = _encode(body)
    except Exception:
        return writable(str(body))
    return body if isinstance(body, str) else msgspec.json.decode(encoded)


def _safely(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception:
        return None
