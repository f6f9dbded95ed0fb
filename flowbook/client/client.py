"""The blocking client: any thread may call it; one background thread reads."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec

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
        self.future: Future[msgspec.Raw] = Future()

    def resolve(self, result: msgspec.Raw) -> None:
        self.future.set_result(result)

    def fail(self, error: FlowbookError) -> None:
        self.future.set_exception(error)

    def update(self, body: msgspec.Raw, last: bool) -> None:
        raise ProtocolError("an update came for a request that is no subscription")


class _Updates:
    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[msgspec.Raw | FlowbookError | None] = queue.SimpleQueue()

    def resolve(self, result: msgspec.Raw) -> None:
        """The engine took the subscription; updates follow."""

    def fail(self, error: FlowbookError) -> None:
        self.queue.put(error)

    def update(self, body: msgspec.Raw, last: bool) -> None:
        self.queue.put(body)
        if last:
            self.queue.put(None)


class Client:
    """Talks to the engine of one state folder, and starts it when needed (unless ``start`` is false).

    A killed engine is started again and what it had not answered is asked again; that is safe, because every call
    either changes nothing or carries an id.
    """

    def __init__(self, home: Path | str | None = None, *, start: bool = True, timeout: float = 20.0) -> None:
        self.home = Path(home).expanduser().absolute() if home is not None else launch.find_home()
        self._start = start
        self._timeout = timeout
        self._session = Session()
        self._lock = threading.RLock()
        self._socket: socket.socket | None = None
        self._closed = False
        self._stored: set[Digest] = set()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; calls under way fail."""
        with self._lock:
            self._closed = True
            if self._socket is not None:
                _hang_up(self._socket)
                self._socket = None
            self._session.fail(EngineUnavailable("the client was closed."))

    # Calls

    def put_module(self, module: Module) -> Digest:
        """Store a module; the same one again changes nothing, and is not sent by this client."""
        if module.digest not in self._stored:
            self._ask(asks.put_module(module))
            self._stored.add(module.digest)
        return module.digest

    def forget_module(self, digest: Digest) -> None:
        """The engine does not have it any more."""
        self._stored.discard(digest)

    def module(self, digest: str) -> Module:
        """A stored module."""
        return self._ask(asks.module(digest))

    def start(
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
        """Start a run; when this returns, it will be carried out. The same start again is the same run."""
        return self._ask(asks.start(run, workflow, module, place, arguments or {}, name, source, origin, seed))

    def runs(self, limit: int = 100, status: str = "") -> list[calls.Summary]:
        """The newest runs."""
        return self._ask(asks.runs(limit, status))

    def run(self, run: str) -> calls.Summary:
        """One run in a few words. Raises ``UnknownRun``."""
        return self._ask(asks.run(run))

    def history(self, run: str, after: int = 0, limit: int = 0) -> list[Recorded]:
        """The run's events after a sequence number: all, or as many as there are up to ``limit``."""
        found = page = self._ask(asks.history(run, after, limit))
        while page and len(found) != limit:
            page = self._ask(asks.history(run, page[-1].seq, limit and limit - len(found)))
            found = [*found, *page]
        return found

    def view(self, run: str, at: int | None = None) -> dict[str, Any]:
        """What every UI draws, now or as of an event."""
        return self._ask(asks.view(run, at))

    def at(self, run: str, at: int) -> calls.Moment:
        """Frames and values as of an event."""
        return self._ask(asks.moment(run, at))

    def signal(self, run: str, name: str, value: Value, id: str = "") -> calls.Summary:
        """Send a signal; when this returns, it is recorded. Raises ``RunClosed`` or ``UnknownRun``."""
        return self._ask(asks.signal(run, name, value, id))

    def cancel(self, run: str, reason: str = "") -> calls.Outcome:
        """Ask a run to stop; the outcome is "queued", "cancelled" or "already done"."""
        return self._ask(asks.cancel(run, reason))

    def terminate(self, run: str, reason: str = "", now: bool = False) -> calls.Outcome:
        """End a run without asking its code; the outcome is "terminated", "queued" or "already done"."""
        return self._ask(asks.terminate(run, reason, now))

    def update(
        self,
        run: str,
        name: str,
        arguments: tuple[Value, ...] = (),
        keywords: dict[str, Value] | None = None,
        id: str = "",
        wait: bool = True,
        timeout: float | None = None,
    ) -> calls.UpdateResult:
        """Send an update and wait until its handler has ended; without ``wait`` until it is recorded.

        Raises TimeoutError when ``timeout`` seconds have passed; it may be handled all the same.
        """
        return self._ask(asks.update(run, name, arguments, keywords or {}, id, wait), timeout)

    def update_result(self, run: str, id: str, name: str, timeout: float | None = None) -> calls.UpdateResult:
        """How an update that was recorded with this very run has ended, when it has. Raises TimeoutError."""
        return self._ask(asks.update_result(run, id, name), timeout)

    def query(
        self, run: str, name: str, arguments: tuple[Value, ...] = (), keywords: dict[str, Value] | None = None
    ) -> Value:
        """Ask a query handler of the run's code; changes nothing."""
        return self._ask(asks.query(run, name, arguments, keywords or {}))

    def complete(self, token: str, value: Value | None = None, failure: Failure | None = None) -> calls.Summary:
        """Finish what a token stands for, with a value or a failure."""
        return self._ask(asks.complete(token, value, failure))

    def move(self, run: str, module: str, source: str = "") -> calls.Fit:
        """Have a run go on with other code. Raises ``HistoryMismatch`` where it does not fit."""
        return self._ask(asks.move(run, module, source))

    def check_runs(self, module: str, runs: tuple[str, ...] = ()) -> list[calls.Fit]:
        """Whether these open runs, or all that concern the module, would go on with it."""
        return self._ask(asks.check_runs(module, runs))

    def resume(self, run: str) -> calls.Summary:
        """End a pause."""
        return self._ask(asks.resume(run))

    def wait(self, run: str, timeout: float | None = None) -> calls.Summary:
        """Wait until the run is closed or paused, or for ``timeout`` seconds."""
        return self._ask(asks.wait(run, timeout))

    def watch(self, run: str | None = None, settled: bool = False) -> Iterator[dict[str, Any]]:
        """Follow a run: ``{"view"}`` first and after trouble, ``{"patch", "seq"}`` between; ends with the run.

        With ``settled`` it ends when the run owes nothing outside any more, which may be later.
        Without a run: ``{"runs": [...]}`` whenever the list changes.
        """
        ask, sink = asks.watch(run, settled), _Updates()
        number = self._send(ask, sink)
        try:
            while (body := sink.queue.get()) is not None:
                if isinstance(body, FlowbookError):
                    raise body
                yield ask.read(body)
        finally:
            self._forget(number)

    def sql(self, query: str, limit: int = 1000, timeout: float = 60.0) -> calls.Rows:
        """One read-only statement over the documented views; interrupted after ``timeout`` seconds."""
        return self._ask(asks.sql(query, limit, timeout))

    def status(self) -> calls.Status:
        """The engine about itself."""
        return self._ask(asks.status())

    def stop(self, grace: float = 30.0) -> None:
        """Have the engine leave, after at most ``grace`` seconds for running steps to end.

        Open runs go on when it is started again.
        """
        self._ask(asks.stop(grace))

    def ask(self, ask: Ask[T]) -> T:
        """Make a call that has no method here, for example one of ``schedule_asks``."""
        return self._ask(ask)

    # Connection

    def _ask(self, ask: Ask[T], timeout: float | None = None) -> T:
        sink = _Answer()
        number = self._send(ask, sink)
        try:
            return ask.read(sink.future.result(timeout))
        except BaseException:
            self._forget(number)
            raise

    def _send(self, ask: Ask[Any], sink: _Answer | _Updates) -> int:
        with self._lock:
            if self._socket is None:
                self._connect()
            number, frame = self._session.request(ask, sink)
            self._write(frame)
            return number

    def _forget(self, number: int) -> None:
        with self._lock:
            frame = self._session.forget(number)
            if frame and self._socket is not None:
                self._write(frame)

    def _connect(self) -> None:
        if self._closed:
            raise EngineUnavailable("the client was closed.")
        # One that was there a moment ago may have been killed since: whoever is asked again starts another.
        for left in reversed(range(launch.ATTEMPTS)):
            address = self._address()
            try:
                connection = launch.open_socket(address)
                break
            except OSError as error:
                if not left:
                    raise EngineUnavailable(f"the engine of {self.home} could not be reached ({error}).") from error
        self._socket = connection
        self._write(self._session.opening(address.token))
        threading.Thread(target=self._read, args=(connection,), name="flowbook-client", daemon=True).start()

    def _address(self) -> launch.Address:
        if self._start:
            return launch.ensure_engine(self.home, self._timeout)
        found = launch.running_engine(self.home)
        if found is None:
            raise EngineUnavailable(f"no engine is running for {self.home}. `flowbook engine start` starts it.")
        return found

    def _write(self, data: bytes) -> None:
        assert self._socket is not None
        try:
            self._socket.sendall(data)
        except OSError:
            # The reader sees the same loss, connects again and sends again what was not answered.
            _hang_up(self._socket)

    def _read(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(1 << 18):
                with self._lock:
                    self._session.receive(data)
        except OSError:
            pass
        except (ProtocolError, msgspec.DecodeError) as error:
            with self._lock:
                self._session.fail(
                    ProtocolError(f"the engine sent something this version does not understand: {error}")
                )
        connection.close()
        with self._lock:
            if self._socket is connection:
                self._socket = None
                self._recover()

    def _recover(self) -> None:
        if self._closed or not self._session.busy:
            return
        refusal = self._session.refusal()
        if refusal is not None:
            self._session.fail(refusal)
            return
        try:
            self._connect()
        except FlowbookError as error:
            self._session.fail(error)


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # Already gone, which is what was wanted.
        return
