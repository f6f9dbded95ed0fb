"""Output for eyes: what a step or a workflow printed and displayed, as far as it is shown. The last of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from flowbook.core.event import Chunk

TEXT = 64 * 1024
"""Characters of text that are kept."""

DISPLAYS = 512 * 1024
"""Characters of displays that are kept; the last one always is."""

CHUNK = 2048
"""Printed text is gathered in chunks of about this size, so that who prints much has few of them."""


class OutputView:
    """Chunks, oldest first."""

    def __init__(self) -> None:
        self._chunks: list[dict[str, Any]] = []
        self._text = 0
        self._displays = 0

    def add(self, chunks: Iterable[Chunk]) -> None:
        """There is more of it."""
        output = self._chunks
        for chunk in chunks:
            last = output[-1] if output else {}
            if chunk.text and not chunk.data and last.get("stream") == chunk.stream and len(last["text"]) < CHUNK:
                last["text"] += chunk.text
            else:
                output.append(msgspec.to_builtins(chunk))
            self._text += len(chunk.text)
            self._displays += _weight(chunk.data)
        while len(output) > 1 and (self._text > TEXT or self._displays > DISPLAYS):
            gone = output.pop(0)
            self._text -= len(gone.get("text", ""))
            self._displays -= _weight(gone.get("data", {}))
        if output and len(output[0].get("text", "")) > TEXT:
            self._text -= len(output[0]["text"]) - TEXT
            output[0]["text"] = output[0]["text"][-TEXT:]

    def shown(self) -> list[dict[str, Any]]:
        """The chunks as they are now; later ones do not change what was given."""
        return [dict(chunk) for chunk in self._chunks]


def _weight(data: dict[str, Any]) -> int:
    return sum(len(body) if isinstance(body, str) else 1000 for body in data.values())
