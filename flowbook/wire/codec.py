"""Python values to ``Value`` and back. JSON first, then Arrow, NumPy, bytes, and cloudpickle as the last resort.

Plain JSON data is written as it is; tuples, sets, dates, data classes and the like are tagged (``{"$tuple": [...]}``)
so that they come back as what they were. Files are the caller's: ``save`` and ``load`` move bytes by content digest; so
are classes, which values name and do not carry.
"""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Callable
from math import isfinite
from typing import Any

import msgspec

from flowbook.core.ids import Digest
from flowbook.core.text import writable
from flowbook.core.value import SHOWN, Value
from flowbook.errors import FlowbookError, UnsavableValue
from flowbook.wire import pickling, tagged
from flowbook.wire.classes import IMPORTABLE, PINNED, Classes

INLINE = 16 * 1024
"""Encoded bytes up to here travel in the event; longer ones become files."""

PREVIEW = 400

Save = Callable[[bytes], Digest]
Load = Callable[[Digest], bytes]

_json = msgspec.json.Encoder()
_decode = msgspec.json.Decoder().decode
_SCALARS = (str, int, bool, type(None))


def is_plain(value: object, depth: int = 60) -> bool:
    """True when JSON gives back exactly this value, types included."""
    kind = type(value)
    if kind in _SCALARS:
        return kind is not int or -(2**63) <= value < 2**64  # type: ignore[operator]
    if kind is float:
        return isfinite(value)  # type: ignore[arg-type]
    if depth == 0:
        return False
    if kind is list:
        return all(is_plain(item, depth - 1) for item in value)  # type: ignore[attr-defined]
    if kind is dict:
        return all(
            type(key) is str and key[:1] != "$" and is_plain(item, depth - 1)
            for key, item in value.items()  # type: ignore[attr-defined]
        )
    return False


def encode(value: object, save: Save, name: str = "", classes: Classes = IMPORTABLE) -> Value:
    """Encode ``value``; ``name`` is what the user calls it, for the error.

    Raises UnsavableValue where no codec can save it.
    """
    plain = is_plain(value)
    special = None if plain else _arrow(value) or _numpy(value)
    if special is not None:
        return _packed(special[0], special[1], save, type_name(value), preview(value))
    if type(value) is bytes:
        return _packed("bytes", value, save, "bytes", preview(value))
    try:
        if plain:
            return _packed("json", _json.encode(value), save)
        return _packed("json", _json.encode(tagged.tag(value, classes)), save, type_name(value))
    except (tagged.Untaggable, UnicodeEncodeError):
        # Text that is no Unicode, like the names of some files, is in a pickle as it was.
        pass
    except (ValueError, RecursionError) as error:
        raise _unsavable(value, name, error) from None
    return _packed("pickle", _pickled(value, name, classes), save, type_name(value), preview(value))


def decode(value: Value, load: Load, *, pickles: bool = True, classes: Classes = IMPORTABLE) -> Any:
    """The Python value again. With ``pickles=False`` a pickle raises FlowbookError instead of being loaded."""
    if value.codec == "json":
        plain = _decode(load(value.file) if value.file else value.data)
        return tagged.untag(plain, classes) if value.type else plain
    body = _body(value, load)
    if value.codec == "bytes":
        return body
    if value.codec == "arrow":
        return _from_arrow(body, value.type)
    if value.codec == "npy":
        import numpy

        return numpy.load(io.BytesIO(body), allow_pickle=False)
    if value.codec == "pickle":
        if not pickles:
            raise FlowbookError(f"a value of type {value.type} is a pickle and is only loaded by its owner's worker")
        return pickling.loads(body, classes)
    raise FlowbookError(f"this version knows no codec '{value.codec}'; the history was written by a newer one")


def fingerprint(value: Value) -> bytes:
    """Bytes that are equal exactly when the encoded content is."""
    return value.codec.encode() + b":" + (value.file.encode() if value.file else bytes(value.data))


def shown(value: object) -> Any:
    """The value itself where it is small plain JSON, else ``{"$type", "preview"}``; never fails."""
    try:
        if is_plain(value) and len(_json.encode(value)) <= SHOWN:
            return value
    except (msgspec.MsgspecError, ValueError, RuntimeError):
        # Text that is not Unicode; or another thread is changing it.
        pass
    return {"$type": type_name(value), "preview": preview(value)}


def type_name(value: object) -> str:
    """The type as people write it: ``DataFrame``, ``shop.Order``."""
    kind = type(value)
    module = kind.__module__
    if module.startswith(PINNED):
        # What a run pins is its own, whatever the process calls it.
        return kind.__qualname__
    if module in ("builtins", "__main__") or module.startswith(("flowbook", "pandas", "numpy", "polars")):
        return kind.__qualname__
    return f"{module}.{kind.__qualname__}"


def preview(value: object) -> str:
    """At most a few hundred characters of ``repr``; a failing ``repr`` is described, not raised."""
    try:
        text = f"{len(value)} bytes" if isinstance(value, bytes) else repr(value)
    except Exception as error:
        return f"<{type_name(value)} whose repr raised {type(error).__name__}>"
    return writable(text if len(text) <= PREVIEW else text[: PREVIEW - 1] + "…")


def _packed(codec: str, body: bytes, save: Save, type: str = "", preview: str = "") -> Value:
    if len(body) > INLINE:
        if codec == "json" and not preview:
            preview = body[: PREVIEW - 1].decode(errors="replace") + "…"
        return Value(codec=codec, file=save(body), size=len(body), type=type, preview=preview)
    data = body if codec == "json" else b'"' + base64.b64encode(body) + b'"'
    return Value(codec=codec, data=msgspec.Raw(data), size=len(body), type=type, preview=preview)


def _body(value: Value, load: Load) -> bytes:
    if value.file:
        return load(value.file)
    return base64.b64decode(msgspec.json.decode(value.data, type=str))


def _pickled(value: object, name: str, classes: Classes) -> bytes:
    try:
        return pickling.dumps(value, classes)
    except Exception as error:
        raise _unsavable(value, name, error) from None


def _unsavable(value: object, name: str, error: Exception) -> UnsavableValue:
    called = f"'{name}' " if name else ""
    return UnsavableValue(
        f"the value {called}of type {type_name(value)} cannot be saved ({error}). "
        "Use plain data, a table or an array instead, and make connections, files and locks where they are used"
    )


def _arrow(value: object) -> tuple[str, bytes] | None:
    module = type(value).__module__.partition(".")[0]
    if module not in ("pandas", "polars", "pyarrow") or type(value).__name__ not in ("DataFrame", "Table"):
        return None
    import pyarrow

    try:
        if module == "pandas":
            table = pyarrow.Table.from_pandas(value)
            if not table.to_pandas().equals(value):
                return None
        else:
            table = value.to_arrow() if module == "polars" else value  # type: ignore[attr-defined]
    except (pyarrow.ArrowException, TypeError, ValueError):
        return None
    sink = io.BytesIO()
    with pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return "arrow", sink.getvalue()


def _from_arrow(body: bytes, type: str) -> Any:
    import pyarrow

    table = pyarrow.ipc.open_file(io.BytesIO(body)).read_all()
    if type == "DataFrame" and table.schema.pandas_metadata is not None:
        return table.to_pandas()
    if type == "DataFrame":
        import polars

        return polars.from_arrow(table)
    return table


def _numpy(value: object) -> tuple[str, bytes] | None:
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value) is not numpy.ndarray or value.dtype.hasobject:  # type: ignore[attr-defined]
        return None
    sink = io.BytesIO()
    numpy.save(sink, value, allow_pickle=False)
    return "npy", sink.getvalue()
