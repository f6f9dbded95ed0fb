"""One run in one file: a zip of its events, its modules, its large values, and a manifest that proves them whole.

The file format and nothing else: who may take a run in, and under which id, is the engine's to say.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from flowbook.core.events import Recorded, RunMoved, RunStarted
from flowbook.core.ids import Digest, RunId
from flowbook.core.module import Module
from flowbook.core.value import Value
from flowbook.errors import FlowbookError, StoreError, UserError
from flowbook.store.base import CLOSED_STATUS, decode_recorded
from flowbook.store.values import ValueFiles

FORMAT = "flowbook-history"
VERSION = 1

_MANIFEST, _EVENTS = "manifest.json", "events.jsonl"
_LONGEST_LINE = 256 * 1024 * 1024

_decode_module = msgspec.json.Decoder(Module).decode


class Manifest(msgspec.Struct, frozen=True):
    """What the file holds.

    ``digest`` is of the events, ``modules`` maps digests to those of the encoded bodies, ``values`` maps digests to
    sizes in bytes; ``flowbook`` is the version that wrote it.
    """

    format: str
    version: int
    flowbook: str
    run: RunId
    workflow: str
    status: str
    events: int
    digest: str
    modules: dict[Digest, str]
    values: dict[Digest, int]


_decode_manifest = msgspec.json.Decoder(Manifest).decode


class Needs(NamedTuple):
    """What events refer to."""

    modules: set[Digest]
    values: set[Digest]

    def add(self, record: bytes, recorded: Recorded) -> None:
        """Take over what this event refers to."""
        if isinstance(recorded.event, RunStarted | RunMoved):
            self.modules.add(recorded.event.module)
        if b'"file":"' in record:
            self.values.update(_files(recorded.event))


def _files(found: Any) -> Iterator[Digest]:
    """The value files named anywhere in an event; what users put into plain JSON is not looked into."""
    if isinstance(found, Value):
        if found.file:
            yield found.file
    elif isinstance(found, msgspec.Struct):
        for name in found.__struct_fields__:
            yield from _files(getattr(found, name))
    elif isinstance(found, dict):
        for item in found.values():
            yield from _files(item)
    elif isinstance(found, list | tuple):
        for item in found:
            yield from _files(item)


# Writing


def write(
    path: Path,
    run: RunId,
    flowbook: str,
    records: Iterable[bytes],
    module: Callable[[Digest], bytes | None],
    values: ValueFiles,
) -> Manifest:
    """Write one run; the file appears whole or not at all.

    Raises UserError where it exists or cannot be written, MissingValue and StoreError where the run is not whole.
    """
    try:
        draft = path.with_name(f".{path.name}-{os.getpid()}")
        if path.exists():
            raise UserError(f"{path} exists already. Choose another name, or delete it first; nothing was written.")
        _clear_drafts(path)
        try:
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as file:
                made = _write(file, run, flowbook, records, module, values)
            with draft.open("rb") as done:
                os.fsync(done.fileno())
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be written ({_why(error)}). Choose a folder that exists and has room, and a name that it "
            "can hold; nothing was written."
        ) from error
    return made


def _clear_drafts(path: Path) -> None:
    """Delete what processes that are gone have left of this file."""
    prefix = f".{path.name}-"
    for name in os.listdir(path.parent):
        pid = name.removeprefix(prefix)
        if name.startswith(prefix) and pid.isdigit() and not _is_alive(int(pid)):
            path.with_name(name).unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error)


def _write(
    file: zipfile.ZipFile,
    run: RunId,
    flowbook: str,
    records: Iterable[bytes],
    module: Callable[[Digest], bytes | None],
    values: ValueFiles,
) -> Manifest:
    needs, digest, count, workflow, status = Needs(set(), set()), _hash(), 0, "", "open"
    with file.open(_EVENTS, "w", force_zip64=True) as out:
        for record in records:
            recorded = decode_recorded(record)
            if isinstance(recorded.event, RunStarted):
                workflow = recorded.event.workflow
            status = CLOSED_STATUS.get(type(recorded.event).__name__, status)
            needs.add(record, recorded)
            digest.update(record + b"\n")
            out.write(record + b"\n")
            count += 1
    bodies: dict[Digest, str] = {}
    for name in sorted(needs.modules):
        body = module(name)
        if body is None:
            raise StoreError(f'the code of run "{run}" (module {name}) is no longer stored, so it cannot be exported.')
        bodies[name] = _hash(body).hexdigest()
        file.writestr(f"modules/{name}.json", body)
    sizes: dict[Digest, int] = {}
    for name in sorted(needs.values):
        with file.open(f"values/{name}", "w", force_zip64=True) as out:
            sizes[name] = values.copy_out(name, out)
    manifest = Manifest(FORMAT, VERSION, flowbook, run, workflow, status, count, digest.hexdigest(), bodies, sizes)
    file.writestr(_MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    return manifest


# Reading


class Archive:
    """An open file. Everything is checked while it is read; damage raises UserError."""

    def __init__(self, path: Path, file: zipfile.ZipFile, manifest: Manifest) -> None:
        self._path = path
        self._file = file
        self.manifest = manifest

    def records(self) -> Iterator[Recorded]:
        """The events in order."""
        with _damage_told(self._path):
            digest, count = _hash(), 0
            with self._file.open(_EVENTS) as lines:
                while line := lines.readline(_LONGEST_LINE):
                    digest.update(line)
                    recorded = decode_recorded(line)
                    count += 1
                    if recorded.seq != count or (count == 1) != isinstance(recorded.event, RunStarted):
                        raise _refusal(self._path, f"event {count} is not in its place")
                    yield recorded
            if (count, digest.hexdigest()) != (self.manifest.events, self.manifest.digest):
                raise _refusal(self._path, "the events are not those of the manifest")

    def modules(self) -> Iterator[Module]:
        """The run's code."""
        for name, digest in self.manifest.modules.items():
            with _damage_told(self._path):
                body = self._file.read(f"modules/{name}.json")
                found = _decode_module(body)
                if _hash(body).hexdigest() != digest or found.digest != name:
                    raise _refusal(self._path, f"module {name} is not the one of the manifest")
                yield found

    def take_values(self, values: ValueFiles) -> None:
        """Copy the large values to where they belong, after checking all of them."""
        with _damage_told(self._path):
            for name in self.manifest.values:
                with self._file.open(f"values/{name}") as source:
                    if hash_of(source) != name:
                        raise _refusal(self._path, f"value {name} is not what was saved")
        for name in self.manifest.values:
            with self._file.open(f"values/{name}") as source:
                values.copy_in(name, source)


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """The file, for reading. Raises UserError where it is none, or of a newer Flowbook."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{path} is no file. Give the one that `flowbook history export` wrote.")
        path.open("rb").close()
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({_why(error)}).") from error
    with _damage_told(path):
        file = zipfile.ZipFile(path)
    with file:
        with _damage_told(path):
            manifest = _decode_manifest(file.read(_MANIFEST))
        if manifest.format != FORMAT:
            raise _refusal(path, f'its format is "{manifest.format}"')
        if manifest.version > VERSION:
            raise UserError(
                f"{path} was written by Flowbook {manifest.flowbook}, which is newer than this one. Upgrade this one; "
                "nothing was imported."
            )
        yield Archive(path, file, manifest)


def hash_of(source: IO[bytes]) -> str:
    """The content digest of a stream, as value files are named by."""
    digest = _hash()
    while block := source.read(1 << 20):
        digest.update(block)
    found: str = digest.hexdigest()
    return found


def _hash(data: bytes = b"") -> Any:
    return hashlib.blake2b(data, digest_size=16)


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Whatever goes wrong while a file of somebody else's making is read is wrong with the file."""
    try:
        yield
    except FlowbookError:
        raise
    except Exception as error:
        raise _refusal(path, str(error) or type(error).__name__) from error


def _refusal(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} is no whole file of `flowbook history export` ({why}). Export the run again, or copy the file again; "
        "nothing was imported."
    )
