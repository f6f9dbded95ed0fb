"""Text that can be written down: what comes from outside (names of files, output of programs) need not be Unicode."""

from __future__ import annotations


def writable(text: str) -> str:
    """The text, with what UTF-8 cannot hold (lone surrogates) spelt out."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text
