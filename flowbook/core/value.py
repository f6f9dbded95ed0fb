"""A saved value as it travels: which codec, and the bytes or where they are.

Encoding and decoding live in ``wire.codec``; files live in ``store.values``.
"""

from __future__ import annotations

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
