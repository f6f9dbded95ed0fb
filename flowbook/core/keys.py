"""Identity of what workflow code asks for: task path, normalised call site, nth visit.

A key must survive reformatting, comments and moved lines, and change when the call itself is another one.
Frames are looked at in ``runtime``, their code in ``syntax``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from flowbook.core.ids import Digest, Key, RunId


def fingerprint(text: str, size: int = 3) -> str:
    """``size`` bytes, in hex, that tell a piece of code or a key from others."""
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


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
    """``digest`` of arguments whose ``ascii`` says all: nearly every call, so it is made in one go."""
    content = name.encode()
    for value in args:
        shown = ascii(value).encode()
        content += b"\x000\0\0%d\0%b" % (len(shown), shown)
    for word, value in keywords.items():
        said, shown = word.encode(), ascii(value).encode()
        content += b"\0%d\0%b\0%d\0%b" % (len(said), said, len(shown), shown)
    return Digest(hashlib.blake2b(content, digest_size=12).hexdigest())
