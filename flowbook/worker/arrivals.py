"""What the engine sends and the code it needs: a packet whose module is still on its way waits here, in order.

Here belongs which packets wait and in which order they go on; what is done with them is the session's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from flowbook.core.ids import Digest, RunId
from flowbook.runtime import modules
from flowbook.wire.protocol import Activate, Commit, Earlier, Inspect, ModuleSource, NeedModule, Packet, Task

NeedsCode = Activate | Inspect | Task


class Doing(Protocol):
    """What is done with packets when their code is here, or cannot be."""

    def act(self, packet: NeedsCode, module: modules.LoadedModule) -> None:
        """Do what it asks for."""

    def cannot_load(self, packet: NeedsCode, error: BaseException) -> None:
        """Say that its code cannot be loaded."""

    def commit(self, packet: Commit) -> None:
        """Apply what has become durable."""


class Arrivals:
    """Packets on their way to what they are about; ``waiting`` are those whose module is not here yet."""

    def __init__(self, doing: Doing, send: Callable[[Packet], None], loading: Callable[[str], None]) -> None:
        self._doing = doing
        self._send = send
        self._loading = loading
        self.waiting: dict[Digest, list[NeedsCode | Commit]] = {}
        self._earlier: list[Earlier] = []

    def clear(self) -> None:
        """Forget it all: the engine that sent it is gone, and its successor sends what it wants."""
        self.waiting.clear()
        self._earlier.clear()

    def take_earlier(self, packet: Earlier) -> None:
        """A piece of a history that goes before the packet it belongs to."""
        self._earlier.append(packet)

    def take(self, packet: NeedsCode) -> None:
        """Have it done, now or when its module has come."""
        if not isinstance(packet, Task):
            packet = self._whole(packet)
        module = modules.loaded(packet.module)
        if module is not None:
            self._doing.act(packet, module)
            return
        waiting = self.waiting.setdefault(packet.module, [])
        waiting.append(packet)
        if len(waiting) == 1:
            self._send(NeedModule(packet.module))

    def take_commit(self, packet: Commit) -> None:
        """What happens while a run's code is still on its way comes after its activation."""
        for waiting in self.waiting.values():
            if any(isinstance(asked, Activate) and asked.run == packet.run for asked in waiting):
                waiting.append(packet)
                return
        self._doing.commit(packet)

    def forget(self, run: RunId) -> None:
        """The run is not to be activated here any more."""
        for waiting in self.waiting.values():
            waiting[:] = [asked for asked in waiting if isinstance(asked, Inspect | Task) or asked.run != run]

    def module_arrived(self, packet: ModuleSource) -> None:
        """Load it, and go on with what has waited for it."""
        waiting = self.waiting.pop(packet.module.digest, [])
        self._loading(packet.module.digest)
        try:
            module = modules.load(packet.module)
        except (Exception, SystemExit) as error:
            for asked in waiting:
                if not isinstance(asked, Commit):
                    self._doing.cannot_load(asked, error)
            return
        finally:
            self._loading("")
        for asked in waiting:
            if isinstance(asked, Commit):
                self._doing.commit(asked)
            else:
                self._doing.act(asked, module)

    def _whole(self, packet: Activate | Inspect) -> Activate | Inspect:
        """The packet with what was sent ahead of it."""
        if not self._earlier:
            return packet
        ahead, self._earlier = self._earlier, []
        history = [event for earlier in ahead for event in earlier.history]
        reuse = [event for earlier in ahead for event in earlier.reuse]
        return msgspec.structs.replace(packet, history=(*history, *packet.history), reuse=(*reuse, *packet.reuse))
