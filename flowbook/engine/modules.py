"""Stored modules, encoded, the lately used ones in memory; and decoded with their graphs laid out, for views."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import anyio.to_thread
import msgspec

from flowbook.core.ids import Digest
from flowbook.core.module import Module
from flowbook.errors import FlowbookError, UnknownModule
from flowbook.store.base import Group, Store, stored_module

KEPT = 128

LayOut = Callable[[Module], Module]

_decode = msgspec.json.Decoder(Module).decode


class Modules:
    """Modules by digest. ``lay_out`` gives a module's graphs their positions, once a module."""

    def __init__(self, store: Store, lay_out: LayOut) -> None:
        self._store = store
        self._lay_out = lay_out
        self._kept: OrderedDict[Digest, bytes] = OrderedDict()
        self._drawn: OrderedDict[Digest, Module] = OrderedDict()

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
                raise UnknownModule(f"no module with digest {digest} is stored; store it with put_module first.")
            self._keep(digest, body)
        return body

    async def drawn(self, digest: Digest) -> Module | None:
        """A module with its graphs laid out, or None for one that is not stored."""
        module = self._drawn.get(digest)
        if module is None:
            try:
                body = await self.body(digest)
            except FlowbookError:
                return None
            module = self._drawn[digest] = await anyio.to_thread.run_sync(self._lay_out, _decode(body))
            if len(self._drawn) > KEPT:
                self._drawn.popitem(last=False)
        return module

    def is_known(self, digest: Digest) -> bool:
        """True when the module is certainly stored."""
        return digest in self._kept

    def _keep(self, digest: Digest, body: bytes) -> None:
        self._kept[digest] = body
        self._kept.move_to_end(digest)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
