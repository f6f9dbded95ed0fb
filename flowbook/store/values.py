"""Large values as files, named by their content: written once, safe against a power cut, checked when read."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from flowbook.core.ids import Digest
from flowbook.errors import MissingValue, StoreError


class ValueFiles:
    """The files in ``values`` of a state folder. Any process of the project may save and load."""

    def __init__(self, home: Path | str) -> None:
        self.home = Path(home)
        self._folder = self.home / "values"

    def save(self, data: bytes) -> Digest:
        """Store ``data`` and return its digest. When this returns, the file is on disk; the same data is kept once."""
        digest = Digest(hashlib.blake2b(data, digest_size=16).hexdigest())
        path = self._path(digest)
        if path.exists() and path.stat().st_size == len(data):
            return digest
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(path, data)
        except OSError as error:
            raise StoreError(
                f"a value of {len(data):,} bytes could not be saved to {path} ({error.strerror or error}). "
                "Nothing was recorded; make room or give access there, and try again."
            ) from error
        return digest

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
        if hashlib.blake2b(data, digest_size=16).hexdigest() != digest:
            raise MissingValue(
                f"the value file {path} is damaged: its content does not match its name. "
                "Restore it from a backup, or run the step that made it again."
            )
        return data

    def _path(self, digest: Digest) -> Path:
        if not digest or not digest.isalnum():
            raise MissingValue(f'"{digest}" is not the digest of a value.')
        return self._folder / digest[:2] / digest

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".draft-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
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
