"""The anyio client: the same calls as ``Client``, for servers. Use it as an async context manager."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import anyio
import msgspec
from anyio.abc import ByteStream
from anyio.streams.memory import MemoryObjectSendStream

from flowbook.client import asks, launch
from flowbook.client.asks import Ask
from flowbook.client.session import Session
from flowbook.core.events import Origin, Place, Recorded
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest
from flowbook.core.module import Module
from flowbook.core.value import Value
from flowbook.errors import EngineUnavailable, FlowbookError, ProtocolError
from flowbook.wire import calls

T = TypeVar("T")


class _Answer:
    def __init__(self) -> None:
        self.done = anyio.Event()
        self.result = msgspec.Raw(b"null")
        self.error: FlowbookError | None = None

    def resolve(self, result: msgspec.Raw) -> None:
        self.result = result
        self.done.set()

    def fail(self, error: FlowbookError) -> None:
        self.error = error
        self.done.set()

    def update(self, body: msgspec.Raw, last: bool) -> None:
        self.fail(ProtocolError("an update came for a request that is no subscription"))


class _Updates:
    def __init__(self, send: MemoryObjectSendStream[msgspec.Raw | FlowbookError]) -> None:
        self._send = send

    def resolve(self, result: msgspec.Raw) -> None:
        """The engine took the subscription; updates follow."""

    def fail(self, error: FlowbookError) -> None:
        self._put(error)
        self._send.close()

    def update(self, body: msgspec.Raw, last: bool) -> None:
        self._put(body)
        if last:
            self._send.close()

    def _put(self, item: msgspec.Raw | FlowbookError) -> None:
        try:
            self._send.send_nowait(item)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            # The reader of this subscription has left.
            return


class AsyncClient:
    """See ``Client``: the same promises, awaited."""

    def __init__(self, home: Path | str | None = None, *, start: bool = True, timeout: float = 20.0) -> None:
        self.home = Path(home).expanduser().absolute() if home is not None else launch.find_home()
        self._start = start
        self._timeout = timeout
        self._session = Session()
        self._stream: ByteStream | None = None
        self._connecting = anyio.Lock()
        self._writing = anyio.Lock()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> AsyncClient:
        self._group = await self._stack.enter_async_context(anyio.create_task_group())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._session.fail(EngineUnavailable("the client was closed."))
        self._group.cancel_scope.cancel()
        if self._stream is not None:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()
        return await self._stack.__aexit__(kind, error, trace)

    # Calls

    async def put_module(self, module: Module) -> Digest:
        """See ``Client``."""
        return await self._ask(asks.put_module(module))

    async def module(self, digest: str) -> Module:
        """See ``Client``."""
        return await self._ask(asks.module(digest))

    async def start(
        self,
        run: str,
        workflow: str,
        module: str,
        place: Place,
        arguments: dict[str, Value] | None = None,
        name: str = "",
        source: str = "",
        origin: Origin | None = None,
        seed: str = "",
    ) -> calls.Summary:
        """See ``Client``."""
        return await self._ask(asks.start(run, workflow, module, place, arguments or {}, name, source, origin, seed))

    async def runs(self, limit: int = 100, status: str = "") -> list[calls.Summary]:
        """See ``Client``."""
        return await self._ask(asks.runs(limit, status))

    async def run(self, run: str) -> calls.Summary:
        """See ``Client``."""
        return await self._ask(asks.run(run))

    async def history(self, run: str, after: int = 0, limit: int = 0) -> list[Recorded]:
        """See ``Client``."""
        found = page = await self._ask(asks.history(run, after, limit))
        while page and len(found) != limit:
            page = await self._ask(asks.history(run, page[-1].seq, limit and limit - len(found)))
            found = [*found, *page]
        return found

    async def view(self, run: str, at: int | None = None) -> dict[str, Any]:
        """See ``Client``."""
        return await self._ask(asks.view(run, at))

    async def at(self, run: str, at: int) -> calls.Moment:
        """See ``Client``."""
        return await self._ask(asks.moment(run, at))

    async def signal(self, run: str, name: str, value: Value, id: str = "") -> calls.Summary:
        """See ``Client``."""
        return await self._ask(asks.signal(run, name, value, id))

    async def cancel(self, run: str, reason: str = "") -> calls.Outcome:
        """See ``Client``."""
        return await self._ask(asks.cancel(run, reason))

    async def terminate(self, run: str, reason: str = "", now: bool = False) -> calls.Outcome:
        """See ``Client``."""
        return await self._ask(asks.terminate(run, reason, now))

    async def update(
        self,
        run: str,
        name: str,
        arguments: tuple[Value, ...] = (),
        keywords: dict[str, Value] | None = None,
        id: str = "",
        wait: bool = True,
    ) -> calls.UpdateResult:
        """See ``Client``."""
        return await self._ask(asks.update(run, name, arguments, keywords or {}, id, wait))

    async def update_result(self, run: str, id: str, name: str) -> calls.UpdateResult:
        """See ``Client``."""
        return await self._ask(asks.update_result(run, id, name))

    async def query(
        self, run: str, name: str, arguments: tuple[Value, ...] = (), keywords: dict[str, Value] | None = None
    ) -> Value:
        """See ``Client``."""
        return await self._ask(asks.query(run, name, arguments, keywords or {}))

    async def complete(self, token: str, value: Value | None = None, failure: Failure | None = None) -> calls.Summary:
        """See ``Client``."""
        return await self._ask(asks.complete(token, value, failure))

    async def move(self, run: str, module: str, source: str = "") -> calls.Fit:
        """See ``Client``."""
        return await self._ask(asks.move(run, module, source))

    async def check_runs(self, module: str, runs: tuple[str, ...] = ()) -> list[calls.Fit]:
        """See ``Client``."""
        return await self._ask(asks.check_runs(module, runs))

    async def resume(self, run: str) -> calls.Summary:
        """See ``Client``."""
        return await self._ask(asks.resume(run))

    async def wait(self, run: str, timeout: float | None = None) -> calls.Summary:
        """See ``Client``."""
        return await self._ask(asks.wait(run, timeout))

    async def watch(self, run: str | None = None, settled: bool = False) -> AsyncIterator[dict[str, Any]]:
        """See ``Client``."""
        send, receive = anyio.create_memory_object_stream[msgspec.Raw | FlowbookError](inf)
        ask = asks.watch(run, settled)
        number = await self._send(ask, _Updates(send))
        try:
            async with send, receive:
                async for body in receive:
                    if isinstance(body, FlowbookError):
                        raise body
                    yield ask.read(body)
        finally:
            with anyio.CancelScope(shield=True):
                await self._forget(number)

    async def sql(self, query: str, limit: int = 1000, timeout: float = 60.0) -> calls.Rows:
        """See ``Client``."""
        return await self._ask(asks.sql(query, limit, timeout))

    async def status(self) -> calls.Status:
        """See ``Client``."""
        return await self._ask(asks.status())

    async def stop(self, grace: float = 30.0) -> None:
        """See ``Client``."""
        await self._ask(asks.stop(grace))

    async def ask(self, ask: Ask[T]) -> T:
        """See ``Client``."""
        return await self._ask(ask)

    # Connection

    async def _ask(self, ask: Ask[T]) -> T:
        sink = _Answer()
        number = await self._send(ask, sink)
        try:
            await sink.done.wait()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._forget(number)
            raise
        if sink.error is not None:
            raise sink.error
        return ask.read(sink.result)

    async def _send(self, ask: Ask[Any], sink: _Answer | _Updates) -> int:
        async with self._connecting:
            if self._stream is None:
                await self._connect()
            number, frame = self._session.request(ask, sink)
        await self._write(frame)
        return number

    async def _forget(self, number: int) -> None:
        frame = self._session.forget(number)
        if frame and self._stream is not None:
            await self._write(frame)

    async def _connect(self) -> None:
        # One that was there a moment ago may have been killed since: whoever is asked again starts another.
        for left in reversed(range(launch.ATTEMPTS)):
            address = await anyio.to_thread.run_sync(self._address)
            try:
                stream = await anyio.connect_unix(address.socket)
                break
            except OSError as error:
                if not left:
                    raise EngineUnavailable(f"the engine of {self.home} could not be reached ({error}).") from error
        self._stream = stream
        await self._write(self._session.opening(address.token))
        self._group.start_soon(self._read, stream)

    def _address(self) -> launch.Address:
        if self._start:
            return launch.ensure_engine(self.home, self._timeout)
        found = launch.running_engine(self.home)
        if found is None:
            raise EngineUnavailable(f"no engine is running for {self.home}. `flowbook engine start` starts it.")
        return found

    async def _write(self, data: bytes) -> None:
        stream = self._stream
        if stream is None:
            return
        try:
            async with self._writing:
                await stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            # The reader sees the same loss, connects again and sends again what was not answered.
            return

    async def _read(self, stream: ByteStream) -> None:
        try:
            while True:
                self._session.receive(await stream.receive(1 << 18))
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        except (ProtocolError, msgspec.DecodeError) as error:
            self._session.fail(ProtocolError(f"the engine sent something this version does not understand: {error}"))
        await stream.aclose()
        async with self._connecting:
            if self._stream is stream:
                self._stream = None
                await self._recover()

    async def _recover(self) -> None:
        if not self._session.busy:
            return
        refusal = self._session.refusal()
        if refusal is not None:
            self._session.fail(refusal)
            return
        try:
            await self._connect()
        except FlowbookError as error:
            self._session.fail(error)
