"""Stored modules, encoded, the lately used ones in memory."""

from __future__ import annotations

from collections import OrderedDict

import anyio.to_thread
import msgspec

from flowbook.core.ids import Digest
from flowbook.core.module import Module
from flowbook.errors import FlowbookError
from flowbook.store.base import Group, Store, stored_module

KEPT = 128

_decode = msgspec.json.Decoder(Module).decode


class Modules:
    """Modules by digest."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[Digest, bytes] = OrderedDict()

    def put(self, module: Module) -> None:
        """Make a module durable. Raises ``StoreError``."""
        if module.digest in self._kept:
            return
        stored = stored_module(module)
        group = Group()
        group.modules.append(stored)
        self._store.commit(group)
        self._keep(module.digest, stored.body)

    async def body(self, digest: Digest) -> bytes:
        """An encoded module. Raises ``FlowbookError`` for one that was never stored."""
        body = self._kept.get(digest)
        if body is None:
            body = await anyio.to_thread.run_sync(self._store.module, digest)
            if body is None:
                raise FlowbookError(f"no module with digest {digest} is stored; store it with put_module first.")
            self._keep(digest, body)
        return body

    async def module(self, digest: Digest) -> Module | None:
        """A module, or None."""
        try:
            return _decode(await self.body(digest))
        except FlowbookError:
            return None

    def is_known(self, digest: Digest) -> bool:
        """True when the module is certainly stored."""
        return digest in self._kept

    def _keep(self, digest: Digest, body: bytes) -> None:
        self._kept[digest] = body
        self._kept.move_to_end(digest)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
