"""Words typed in a shell: each is JSON where it is JSON, else text; and text as well where only that fits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from flowbook.runtime import typed


def read(word: str) -> Any:
    """JSON where it is JSON, else the text."""
    try:
        return json.loads(word)
    except ValueError:
        return word


def texts_among(what: str, function: Callable[..., Any], words: Sequence[str]) -> list[bool]:
    """Which words are text although they are JSON, for a call of ``function``. Raises UserError where it takes none."""
    found = [_is_text(function, place, word) for place, word in enumerate(words)]
    values = [word if is_text else read(word) for word, is_text in zip(words, found, strict=True)]
    typed.bound(what, function, values, {})
    return found


def _is_text(function: Callable[..., Any], place: int, word: str) -> bool:
    value = read(word)
    if value is None or isinstance(value, str):
        # A value that was left out is null, and never the word.
        return False
    return not typed.takes(function, place, value) and typed.takes(function, place, word)
