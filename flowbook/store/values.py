"""Large values as files, named by their content: written once, safe against a power cut, checked when read."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from flowbook.core.ids import Digest
from flowbook.errors import MissingValue, StoreError

_BLOCK = 1 << 20


class ValueFiles:
    """The files in ``values`` of a state folder. Any process of the project may save and load."""

    def __init__(self, home: Path | str) -> None:
        self.home = Path(home)
        self._folder = self.home / "values"

    def save(self, data: bytes) -> Digest:
        """Store ``data`` and return its digest. When this returns, the file is on disk; the same data is kept once."""
        digest = self.digest(data)
        path = self._path(digest)
        try:
            if path.exists() and path.stat().st_size == len(data):
                # Young again: it is about to be referred to, and pruning leaves young files alone.
                os.utime(path)
                return digest
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(path, [data])
        except OSError as error:
            raise StoreError(
                f"a value of {len(data):,} bytes could not be saved to {path} ({error.strerror or error}). "
                "Nothing was recorded; make room or give access there, and try again."
            ) from error
        return digest

    @staticmethod
    def digest(data: bytes) -> Digest:
        """What ``save`` would return."""
        return Digest(hashlib.blake2b(data, digest_size=16).hexdigest())

    def load(self, digest: Digest) -> bytes:
        """The data with this digest. Raises ``MissingValue`` where it is gone or no longer what was saved."""
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise MissingValue(
                f"the value file {path} cannot be read ({error.strerror or error}). "
                "Restore it from a backup, or run the step that made it again."
            ) from error
        if self.digest(data) != digest:
            raise MissingValue(
                f"the value file {path} is damaged: its content does not match its name. "
                "Restore it from a backup, or run the step that made it again."
            )
        return data

    def copy_out(self, digest: Digest, out: IO[bytes]) -> int:
        """Write the data with this digest to ``out`` and give its size. Raises ``MissingValue``."""
        checked, size = hashlib.blake2b(digest_size=16), 0
        path = self._path(digest)
        try:
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    checked.update(block)
                    size += out.write(block)
        except FileNotFoundError:
            raise MissingValue(f"the value file {path} is gone. Restore it from a backup.") from None
        if checked.hexdigest() != digest:
            raise MissingValue(f"the value file {path} is damaged: its content does not match its name.")
        return size

    def copy_in(self, digest: Digest, source: IO[bytes]) -> None:
        """Store what ``source`` gives, which is known to have this digest."""
        path = self._path(digest)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(path, iter(lambda: source.read(_BLOCK), b""))
        except OSError as error:
            raise StoreError(f"a value could not be saved to {path} ({error.strerror or error}).") from error

    def all(self) -> Iterator[tuple[Digest, Path]]:
        """Every value file."""
        for path in self._folder.glob("??/*"):
            if path.name.isalnum():
                yield Digest(path.name), path

    def _path(self, digest: Digest) -> Path:
        if not digest or not digest.isalnum():
            raise MissingValue(f'"{digest}" is not the digest of a value.')
        return self._folder / digest[:2] / digest

    @staticmethod
    def _write(path: Path, blocks: Iterable[bytes]) -> None:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".draft-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(blocks)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
