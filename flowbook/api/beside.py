"""Finds what lies beside a notebook or module: Python files in its folder, and in the folder where it is run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from flowbook.core.module import Imported

if TYPE_CHECKING:
    from flowbook.compiler import Compiled
    from flowbook.compiler.beside import Find

MOST = 4 * 1024 * 1024
"""Bytes of code that are kept with a module at most."""

NEVER = frozenset(("flowbook", "__main__", *sys.builtin_module_names))

Stamp = tuple[int, int] | None
"""Time and size of a file when it was looked at; None where there was none."""


class Beside:
    """``find`` gives a module by name. ``stamps`` are those of every file that was looked for; ``size`` is in bytes."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = list(dict.fromkeys(folder.absolute() for folder in folders))
        self.stamps: dict[Path, Stamp] = {}
        self.size = 0

    def find(self, name: str) -> Imported | None:
        """The module of this name, or None where no folder has it or there is too much already."""
        if name.partition(".")[0] in NEVER or self.size > MOST:
            return None
        parts = name.split(".")
        for folder in self._folders:
            base = folder.joinpath(*parts)
            for path, package in ((base / "__init__.py", True), (base.with_name(f"{parts[-1]}.py"), False)):
                text = self._read(path)
                if text is not None:
                    return Imported(name, text, str(path), package)
            if self._is_folder_of_modules(base):
                return Imported(name, "", str(base), package=True)
        return None

    def given_to(self, compiling: Callable[[Find], Compiled]) -> Compiled:
        """What is compiled with these files; with none of them, and a warning, where they are too much."""
        found = compiling(self.find)
        if self.size <= MOST:
            return found
        from flowbook.compiler import Diagnostic, nothing

        found = compiling(nothing)
        warning = Diagnostic(
            "FB024",
            f"what is imported from beside this file is over {MOST // 2**20} MiB of code: it is not kept with runs, so "
            "they notice when it is edited",
            severity="warning",
            fix="install what seldom changes as a package",
        )
        return msgspec.structs.replace(found, diagnostics=(*found.diagnostics, warning))

    def _read(self, path: Path) -> str | None:
        self.stamps[path] = stamp(path)
        if self.stamps[path] is None:
            return None
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None
        self.size += len(text)
        return text

    def _is_folder_of_modules(self, base: Path) -> bool:
        """True for a package without a file of its own."""
        try:
            return base.is_dir() and any(entry.suffix == ".py" for entry in base.iterdir())
        except OSError:
            return False


def with_beside(folders: Iterable[Path], compiling: Callable[[Find], Compiled]) -> Compiled:
    """What is compiled with what lies beside it in these folders."""
    return Beside(folders).given_to(compiling)


def stamp(path: Path) -> Stamp:
    """See ``Stamp``."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size)
