"""How numbers, durations and texts are written in pictures. ``widgets/draw.js`` writes them the same way."""

from __future__ import annotations

import math

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})


def escaped(text: object) -> str:
    """Safe as text and as an attribute; control characters, which XML refuses, become spaces."""
    return "".join(c if _writable(c) else " " for c in str(text)).translate(_ESCAPES)


def _writable(letter: str) -> bool:
    return letter >= " " and not "\ud800" <= letter <= "\udfff" and letter not in "\x7f\ufffe\uffff"


def number(value: float) -> str:
    """With one decimal where it has one."""
    tenths = math.floor(value * 10 + 0.5)
    whole, rest = divmod(abs(tenths), 10)
    sign = "-" if tenths < 0 else ""
    return f"{sign}{whole}.{rest}" if rest else f"{sign}{whole}"


def duration(seconds: float) -> str:
    """Written like 350 ms, 4.2 s, 3 min 5 s, 2 h 10 min, 3 d 4 h."""
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{math.floor(seconds * 1000 + 0.5)} ms"
    if seconds < 9.95:
        return f"{number(seconds)} s"
    whole = math.floor(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two(whole, 60, "min", 1, "s")
    if whole < 86400:
        return _two(whole, 3600, "h", 60, "min")
    return _two(whole, 86400, "d", 3600, "h")


def clock(seconds: float) -> str:
    """Time since the start on an axis: as a duration below a minute, then "3:05" or "2:10:00"."""
    if seconds < 59.5:
        return "0" if seconds == 0 else duration(seconds)
    whole = math.floor(seconds + 0.5)
    minutes = f"{whole // 60 % 60:02d}" if whole >= 3600 else f"{whole // 60}"
    hours = f"{whole // 3600}:" if whole >= 3600 else ""
    return f"{hours}{minutes}:{whole % 60:02d}"


def _two(whole: int, big: int, name: str, small: int, rest: str) -> str:
    left = whole % big // small
    return f"{whole // big} {name}" + (f" {left} {rest}" if left else "")


def fitted(text: str, width: float, letter: float) -> str:
    """``text`` cut to ``width`` pixels where a letter takes ``letter``."""
    room = max(1, math.floor(width / letter))
    return text if len(text) <= room else text[: room - 1] + "…"
