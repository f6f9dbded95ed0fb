"""Identity of what workflow code asks for: task path, normalised call site, nth visit.

A key must survive reformatting, comments and moved lines, and change when the call itself is another one.
Frames are looked at in ``runtime``; here is only the text.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from flowbook.core.ids import Digest, Key, RunId

Span = tuple[int, int, int, int]
"""Line, column, end line, end column, as the compiler records them for an instruction."""


def fingerprint(text: str, size: int = 3) -> str:
    """``size`` bytes, in hex, that tell a piece of code or a key from others."""
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def normalised(source: str, span: Span) -> str:
    """The code at ``span``, free of layout and comments; "" where it cannot be parsed alone."""
    lines = source.splitlines()[span[0] - 1 : span[2]]
    if not lines:
        return ""
    encoded = [line.encode() for line in lines]
    encoded[-1] = encoded[-1][: span[3]]
    encoded[0] = encoded[0][span[1] :]
    text = b"\n".join(encoded).decode(errors="replace")
    try:
        return ast.unparse(ast.parse(f"({text}\n)", mode="eval"))
    except SyntaxError:
        return " ".join(text.split())


def statement(tree: ast.Module, span: Span) -> str:
    """The statement of ``tree`` around ``span``, free of layout and comments; of a compound one its head alone."""
    found: ast.stmt | None = None
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and node.lineno <= span[0] and (node.end_lineno or 0) >= span[2]:
            # Inner statements come after those around them.
            found = node
    if found is None:
        return ""
    bodies: dict[str, Any] = {
        name: [] for name in ("body", "orelse", "finalbody", "handlers", "cases") if hasattr(found, name)
    }
    head = type(found)(**{**dict(ast.iter_fields(found)), **bodies}) if bodies else found
    return ast.dump(head)


def key(path: str, site: str, visit: int) -> Key:
    """``path`` of the task, ``site`` of the call, ``visit`` from 1."""
    return Key(f"{path}/{site}" if visit == 1 else f"{path}/{site}.{visit}")


def idempotency_key(run: RunId, key: Key) -> str:
    """What a step call of a run is known by to services that do a thing once."""
    return hashlib.blake2b(f"{run}\0{key}".encode(), digest_size=16).hexdigest()


def digest(name: str, parts: Iterable[bytes]) -> Digest:
    """Digest of a command: its name and its encoded arguments."""
    content = b"".join([name.encode(), *[b"\0%d\0%b" % (len(part), part) for part in parts]])
    return Digest(hashlib.blake2b(content, digest_size=12).hexdigest())


def plain_digest(name: str, args: Iterable[object], keywords: Mapping[str, object]) -> Digest:
    """``digest`` of arguments whose ``repr`` says all: nearly every call, so it is made in one go."""
    content = name.encode()
    for value in args:
        shown = repr(value).encode()
        content += b"\x000\0\0%d\0%b" % (len(shown), shown)
    for word, value in keywords.items():
        said, shown = word.encode(), repr(value).encode()
        content += b"\0%d\0%b\0%d\0%b" % (len(said), said, len(shown), shown)
    return Digest(hashlib.blake2b(content, digest_size=12).hexdigest())
