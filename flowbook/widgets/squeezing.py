"""JavaScript of our own made shorter: spaces that mean nothing are left out. Strings, templates and patterns stay.

For code without comments at the end of a line, without texts that span lines, without empty statements, and where
every statement that is no block or declaration ends with a semicolon.
"""

from __future__ import annotations

import re

_STRING = r"""'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*\""""
_PATTERN = r"(?:(?<=[(,=:\[!&|?{};] )|(?<=[(\[!]))/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/[a-z]*"
_DIVIDED = r"(?<=[\w)\]])(?<!return) / (?=[\w(])"
_SPACE = rf"{_DIVIDED}| *[=<>?:;,{{}}()&|*%!+-] *| {{2,}}"
_TOKEN = re.compile(rf"(?P<kept>{_STRING}|{_PATTERN})|(?P<template>`)|(?P<space>{_SPACE})")
_BREAK = re.compile(r"(?<=[;{},(\[=?:&|])\n|\n(?=[}\]).?:&|])")
_LAST = re.compile(r";\n(?= *\})")
_INSIDE = re.compile(r"\\.|`|\$\{|[^`\\$]+|\$")


def squeezed(code: str) -> str:
    """The same code with fewer spaces."""
    out: list[str] = []
    place = 0
    while found := _TOKEN.search(code, place):
        out.append(code[place : found.start()])
        place = found.end()
        if found["template"]:
            text, place = _template(code, place)
            out.append(text)
        elif found["space"] is not None:
            beside = code[found.start() - 1 : found.start()] + code[place : place + 1]
            out.append(_punctuation(found["space"], beside))
        else:
            out.append(found["kept"])
    return _BREAK.sub("", _LAST.sub("\n", "".join([*out, code[place:]])))


def _punctuation(text: str, beside: str) -> str:
    mark = text.strip()
    # "a + +b" and "a - -b" need their spaces.
    return text if mark and mark in "+-" and ("+" in beside or "-" in beside) else mark or " "


def _template(code: str, place: int) -> tuple[str, int]:
    """A template that began before ``place``, with what is put in squeezed and all else as it is; and where it ends."""
    out = ["`"]
    while found := _INSIDE.match(code, place):
        place = found.end()
        out.append(found[0])
        if found[0] == "`":
            return "".join(out), place
        if found[0] == "${":
            end = _inner(code, place)
            out += [squeezed(code[place : end - 1]).strip(), "}"]
            place = end
    raise ValueError("a template has no end")


def _inner(code: str, place: int) -> int:
    depth = 1
    while depth:
        found = re.compile(rf"{_STRING}|[{{}}`]").search(code, place)
        if found is None:
            raise ValueError("an expression in a template has no end")
        place = found.end()
        if found[0] == "`":
            _, place = _template(code, place)
        else:
            depth += {"{": 1, "}": -1}.get(found[0], 0)
    return place
