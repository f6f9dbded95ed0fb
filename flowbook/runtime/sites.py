"""Call sites: which line of the user's code asked, and a label for it that survives reformatting."""

from __future__ import annotations

import ast
import asyncio
import functools
import linecache
import sys
from itertools import islice
from types import CodeType, FrameType, FunctionType
from typing import NamedTuple

import flowbook
from flowbook.core import keys, syntax
from flowbook.runtime.loop import DeterministicLoop

_bottoms = {id(DeterministicLoop.drain.__code__): DeterministicLoop.drain.__code__}
"""By identity: the hash of a code object is not kept by it, and costs."""


def _folder(file: str | None) -> str:
    return (file or "").rpartition("/")[0] + "/"


_LIBRARIES = [_folder(flowbook.__file__), _folder(asyncio.__file__), "<frozen "]
_STANDARD = _folder(asyncio.__file__).rstrip("/").rpartition("/")[0] + "/"
_library_files: dict[str, bool] = {}


def is_library(code: CodeType) -> bool:
    """True for code of Flowbook, the standard library and anyio: a call there is its caller's call."""
    file = code.co_filename
    known = _library_files.get(file)
    if known is None:
        known = any(file.startswith(folder) for folder in _LIBRARIES) or "/anyio/" in file
        known = known or (file.startswith(_STANDARD) and "/site-packages/" not in file)
        _library_files[file] = known
    return known


def ends_at(function: FunctionType) -> None:
    """No user code of a run is below a call of ``function``: who drives the run is no part of it."""
    _bottoms[id(function.__code__)] = function.__code__


class Site(NamedTuple):
    """``label`` identifies the call within its task; ``line`` is where it stands in the module."""

    label: str
    line: int


_sites: dict[tuple[int, int], tuple[CodeType, Site]] = {}


def here(depth: int = 2) -> Site | None:
    """The innermost call of user code, seen from ``depth`` frames up; None below the loop."""
    nearest = sys._getframe(depth)
    known = _sites.get((id(nearest.f_code), nearest.f_lasti))
    if known is not None and known[0] is nearest.f_code:
        return known[1]
    frame: FrameType | None = nearest
    while frame is not None:
        code = frame.f_code
        if id(code) in _bottoms:
            return None
        if not is_library(code):
            return _site(code, frame.f_lasti)
        frame = frame.f_back
    return None


def statement(depth: int = 2) -> str:
    """A label for the innermost statement of user code: what else stands in its function does not change it."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and id(frame.f_code) not in _bottoms:
        if not is_library(frame.f_code):
            return _statement(frame.f_code, frame.f_lasti)
        frame = frame.f_back
    return ""


@functools.lru_cache(maxsize=4096)
def _statement(code: CodeType, instruction: int) -> str:
    span = _span(code, instruction)
    return _label(code, instruction, syntax.statement(_tree(code.co_filename), span) if span else "")


def _site(code: CodeType, instruction: int) -> Site:
    found = _sites.get((id(code), instruction))
    if found is not None and found[0] is code:
        return found[1]
    span = _span(code, instruction)
    label = _label(code, instruction, syntax.expression(_tree(code.co_filename), span) if span else "")
    site = Site(label, span.line if span else code.co_firstlineno)
    _sites[(id(code), instruction)] = (code, site)
    return site


def _label(code: CodeType, instruction: int, text: str) -> str:
    return keys.fingerprint(f"{syntax.scope(code.co_qualname)} {text or instruction}")


@functools.lru_cache(maxsize=16)
def _tree(file: str) -> ast.Module:
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def _span(code: CodeType, instruction: int) -> syntax.Span | None:
    line, end_line, column, end_column = next(islice(code.co_positions(), instruction // 2, None), (None,) * 4)
    if line is None or end_line is None or column is None or end_column is None:
        return None
    return syntax.Span(line, column, end_line, end_column)
