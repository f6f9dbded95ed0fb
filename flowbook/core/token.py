"""Tokens: what somebody outside needs to finish a step. Opaque to them; a run, a key and an attempt to us."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

import msgspec

from flowbook.core.ids import Key, RunId
from flowbook.errors import UserError


class Awaited(NamedTuple):
    """The attempt whose result is to come from outside."""

    run: RunId
    key: Key
    attempt: int


def token(run: RunId, key: Key, attempt: int = 1) -> str:
    """Text that is safe in a URL."""
    return base64.urlsafe_b64encode(msgspec.json.encode([run, key, attempt])).decode().rstrip("=")


def read(text: str) -> Awaited:
    """What the token stands for. Raises UserError where it is none."""
    try:
        body = base64.urlsafe_b64decode(text.strip() + "=" * (-len(text.strip()) % 4))
        run, key, attempt = msgspec.json.decode(body, type=tuple[str, str, int])
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise UserError("this is not a token of Flowbook; was it cut off on the way?") from None
    return Awaited(RunId(run), Key(key), attempt)
