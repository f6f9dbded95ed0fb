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


def shortened(text: str, most: int) -> str:
    """The text, or its first three quarters and its last quarter where it has more than ``most`` characters."""
    if len(text) <= most:
        return text
    tail = most // 4
    head = most - tail
    return f"{text[:head]}\n[… {len(text) - most:,} characters are not kept …]\n{text[-tail:]}"
