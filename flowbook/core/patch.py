"""The difference between two views, small enough to send, and how it is applied. Views are plain JSON data."""

from __future__ import annotations

from typing import Any

Patch = list[list[Any]]
"""``[path, new value]`` sets, ``[path]`` removes; a path is a list of keys and list positions."""


def difference(old: Any, new: Any) -> Patch:
    """What turns ``old`` into ``new``. Lists that grew get their new tail entry by entry; others are replaced."""
    changes: Patch = []
    _compare(old, new, [], changes)
    return changes


def _compare(old: Any, new: Any, path: list[Any], changes: Patch) -> None:
    if old is new or (type(old) is type(new) and old == new):
        return
    if type(old) is dict and type(new) is dict:
        changes.extend([[*path, key]] for key in old if key not in new)
        for key, value in new.items():
            if key in old:
                _compare(old[key], value, [*path, key], changes)
            else:
                changes.append([[*path, key], value])
    elif type(old) is list and type(new) is list and path and len(old) <= len(new):
        for index, value in enumerate(new):
            if index < len(old):
                _compare(old[index], value, [*path, index], changes)
            else:
                changes.append([[*path, index], value])
    else:
        changes.append([path, new])


def patched(view: Any, patch: Patch) -> Any:
    """A copy of ``view`` with ``patch`` applied; what did not change is shared."""
    for change in patch:
        view = _changed(view, change[0], change[1:])
    return view


def _changed(view: Any, path: list[Any], value: list[Any]) -> Any:
    if not path:
        return value[0]
    first, rest = path[0], path[1:]
    if isinstance(view, list):
        inner = view[first] if first < len(view) else None
        return [*view[:first], _changed(inner, rest, value), *view[first + 1 :]]
    if not rest and not value:
        return {key: item for key, item in view.items() if key != first}
    return {**view, first: _changed(view.get(first), rest, value)}
