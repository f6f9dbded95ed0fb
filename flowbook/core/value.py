"""A saved value as it travels: which codec, and the bytes or where they are.

Encoding and decoding live in ``wire.codec``; files live in ``store.values``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flowbook.core.ids import Digest


class Value(msgspec.Struct, frozen=True, omit_defaults=True):
    """One encoded value.

    ``codec``: ``json`` (``data`` is the JSON itself), ``arrow``, ``npy``, ``bytes`` or ``pickle``
    (``data`` is a JSON string of base64). Exactly one of ``data`` and ``file`` is not empty; ``file`` is the
    content digest of a file in ``.flowbook/values``. ``size`` is in bytes. ``type`` and ``preview``
    are for eyes and are filled for codecs a reader cannot show by itself.
    """

    codec: str
    data: msgspec.Raw = msgspec.Raw()
    file: Digest = Digest("")
    size: int = 0
    type: str = ""
    preview: str = ""


NOTHING = Value(codec="json", data=msgspec.Raw(b"null"), size=4)
"""The encoded ``None``."""


def is_nothing(value: Value) -> bool:
    """True for the encoded ``None``."""
    return value.codec == NOTHING.codec and bytes(value.data) == bytes(NOTHING.data)


SHOWN = 2048
"""Encoded bytes up to which a JSON value is shown whole."""


def shown(value: Value) -> Any:
    """The value for eyes: itself where it is small JSON, else ``{"$type", "preview"}``. Loads no pickle and no file."""
    if value.codec == "json" and value.data and len(value.data) <= SHOWN:
        return untagged(msgspec.json.decode(value.data))
    return {"$type": value.type or value.codec, "preview": value.preview or f"{value.size} bytes of {value.codec}"}


def untagged(data: Any) -> Any:
    """Tagged JSON (see ``wire.tagged``) for eyes: a tuple as a list, a date as its text, a record as its fields."""
    if type(data) is list:
        return [untagged(item) for item in data]
    if type(data) is not dict:
        return data
    if len(data) == 1:
        ((name, body),) = data.items()
        if name == "$numpy":
            return _number(body[1])
        if name in ("$record", "$named"):
            return untagged(body[1])
        if name == "$enum":
            return untagged(body[2])
        if name[:1] == "$":
            return untagged(body)
    return {key: untagged(item) for key, item in data.items()}


def _number(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    return int(text) if text.lstrip("-").isdigit() else text if text in ("nan", "inf", "-inf") else float(text)


def parts(value: Value, count: int) -> list[Value] | None:
    """The members of an encoded tuple of ``count``, each as a value of its own, or None."""
    if value.codec != "json" or not value.data:
        return None
    try:
        if value.type:
            members = msgspec.json.decode(value.data, type=dict[str, list[msgspec.Raw]]).get("$tuple", [])
        else:
            members = msgspec.json.decode(value.data, type=list[msgspec.Raw])
    except msgspec.ValidationError:
        return None
    if len(members) != count:
        return None
    return [Value(codec="json", data=member, size=len(member), type=value.type) for member in members]
