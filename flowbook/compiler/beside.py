"""What a module imports from beside it, directly or not: the code that has to be kept with a run for it to stay the
same.

Reading files is the caller's: ``find`` gives a module by its dotted name, or None where there is none beside.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable

from flowbook.core.module import Imported
from flowbook.core.syntax import written

Find = Callable[[str], Imported | None]


def beside(text: str, find: Find) -> tuple[Imported, ...]:
    """Every module that ``text`` needs and ``find`` knows, by name. What cannot be parsed imports nothing."""
    found: dict[str, Imported] = {}
    pending = sorted(imported(text))
    while pending:
        name = pending.pop()
        if name in found:
            continue
        module = find(name)
        if module is None:
            continue
        found[name] = module
        package = name if module.package else name.rpartition(".")[0]
        pending += sorted(imported(module.source, package))
    return tuple(found[name] for name in sorted(found))


def imported(text: str, package: str = "") -> set[str]:
    """Dotted names that may be modules: all that is imported, and the packages that lie around it."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
    return {around for name in names for around in _around(name)}


def _absolute(node: ast.ImportFrom, package: str) -> str:
    module = node.module or ""
    if not node.level:
        return module
    base = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*base, module] if module else base)


def _around(name: str) -> Iterable[str]:
    parts = [part for part in name.split(".") if part]
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def marks(modules: Iterable[Imported]) -> dict[str, str]:
    """For each module, a mark of its code and of all that it imports in turn."""
    known = {module.name: module for module in modules}
    found = {}
    for name in known:
        needed = {name} | {m.name for m in beside(f"import {name}", known.get)}
        text = "\0".join(f"{other}\0{_normalised(known[other].source)}" for other in sorted(needed))
        found[name] = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return found


def _normalised(text: str) -> str:
    """The code without layout and comments."""
    try:
        return written(ast.parse(text))
    except (SyntaxError, ValueError):
        return text
