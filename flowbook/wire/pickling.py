"""Pickles that name classes and functions as ``Classes`` does, instead of carrying them along or trusting the importer.

Only ``codec`` calls this. A pickle is loaded in its owner's own processes alone.
"""

from __future__ import annotations

import io
import pickle
from functools import cache
from types import FunctionType
from typing import Any

from flowbook.errors import FlowbookError
from flowbook.wire.classes import IMPORTABLE, Classes

_MARK = "flowbook"


def dumps(value: object, classes: Classes) -> bytes:
    """Pickle ``value``. Whatever cannot be pickled raises what pickle raises."""
    sink = io.BytesIO()
    _pickler()(sink, classes).dump(value)
    return sink.getvalue()


def loads(body: bytes, classes: Classes) -> Any:
    """The value again. Raises FlowbookError where something it names is not to be found."""
    return _Unpickler(body, classes).load()


@cache
def _pickler() -> Any:
    # Importing it takes as long as starting a small run.
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def __init__(self, sink: io.BytesIO, classes: Classes) -> None:
            super().__init__(sink)
            self._classes = classes

        def persistent_id(self, thing: Any) -> Any:
            if not isinstance(thing, type | FunctionType):
                return None
            name = self._classes.name(thing)
            # What anybody can import is pickled as everybody does.
            return None if name is None or name == IMPORTABLE.name(thing) else (_MARK, *name)

    return Pickler


class _Unpickler(pickle.Unpickler):
    def __init__(self, body: bytes, classes: Classes) -> None:
        super().__init__(io.BytesIO(body))
        self._classes = classes

    def persistent_load(self, mark: Any) -> Any:
        return self._find(*mark[1:])

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return self._classes.find(module_name, global_name)
        except LookupError:
            # ``copyreg`` and the like are found as pickle finds them.
            return super().find_class(module_name, global_name)

    def _find(self, module: str, name: str) -> Any:
        try:
            return self._classes.find(module, name)
        except LookupError as error:
            raise FlowbookError(
                f"the value is or holds a {name}, which is not to be found here ({error}); import the module it is from"
            ) from error
