"""Text as one line that a terminal shows and does not obey: what would move the cursor is written out."""

from __future__ import annotations

import re

_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line ends, what turns the direction of text, and halves of characters."""


def printable(text: str) -> str:
    r"""``text`` with ``\n``, ``\x1b`` and the like in place of such characters."""
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def is_printable(text: str) -> bool:
    """True where nothing has to be written out."""
    return _UNSHOWN.search(text) is None
