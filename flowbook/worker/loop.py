"""The worker's event loop: what ends a loop elsewhere is here the business of the step that did it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


class WorkerLoop(asyncio.SelectorEventLoop):
    """Turns until what it was started for has ended.

    asyncio lets an exit or an interrupt out of the loop from whichever task it is raised in, besides giving it to who
    awaits that task. Other steps run here, so only the latter happens.
    """

    _awaited: asyncio.Future[Any] | None = None

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """Part of the loop."""
        if not self.is_running():
            future = self._awaited = asyncio.ensure_future(future, loop=self)  # type: ignore[arg-type]
        return super().run_until_complete(future)

    def run_forever(self) -> None:
        """Part of the loop."""
        while True:
            try:
                super().run_forever()
                return
            except SystemExit:
                if not self._is_needed():
                    raise
            except KeyboardInterrupt:
                if not self._is_needed() or self._is_interrupted():
                    raise

    def stop(self) -> None:
        """Part of the loop. Raises RuntimeError where a step calls it."""
        if self._is_needed():
            raise RuntimeError(
                "a step cannot stop the event loop: it is its worker's, and other steps run on it. "
                'Return from the step, or give it a process of its own with isolate="process"'
            )
        super().stop()

    def _is_needed(self) -> bool:
        return self._awaited is not None and not self._awaited.done()

    def _is_interrupted(self) -> bool:
        """True once Ctrl-C was pressed, which asyncio answers by cancelling what it was started for."""
        return isinstance(self._awaited, asyncio.Task) and bool(self._awaited.cancelling())
