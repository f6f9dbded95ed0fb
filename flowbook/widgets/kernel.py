"""The kernel's side of a widget where no Jupyter server can be asked: every question gets a thread of its own.

Messages in: ``{"id", "ask", ...}``. Messages out: ``{"id", "answer"}``, ``{"id", "error"}``, ``{"id", "update"}``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from flowbook.client import Client
from flowbook.core.value import Value
from flowbook.errors import FlowbookError, UserError
from flowbook.store.values import ValueFiles
from flowbook.widgets import demands
from flowbook.wire import codec

ALL = "*"

Send = Callable[[dict[str, Any]], None]


class Answering:
    """Answers one widget. ``send`` may be called from any thread."""

    def __init__(self, home: Path, send: Send) -> None:
        self._home = home
        self._send = send
        self._lock = threading.Lock()
        self._followed: dict[str, Client] = {}

    def receive(self, message: object) -> None:
        """Take in a message of the browser; returns at once."""
        if not isinstance(message, dict) or not isinstance(message.get("id"), str):
            return
        if message.get("ask") == "unfollow":
            self._unfollow(message["id"])
            return
        act = self._follow if message.get("ask") == "follow" else self._answer
        threading.Thread(target=act, args=(message,), name="flowbook-widget", daemon=True).start()

    def close(self) -> None:
        """Follow nothing any longer."""
        for followed in list(self._followed):
            self._unfollow(followed)

    def _answer(self, message: dict[str, Any]) -> None:
        try:
            with Client(self._home) as client:
                answer = _plain(self._asked(client, message))
        except FlowbookError as error:
            self._send({"id": message["id"], "error": str(error)})
        else:
            self._send({"id": message["id"], "answer": answer})

    def _asked(self, client: Client, message: dict[str, Any]) -> Any:
        run, at = str(message.get("run")), message.get("at")
        if at is not None and not isinstance(at, int):
            raise UserError(f"'at' must be the number of an event, not {at!r}")
        match message.get("ask"):
            case "view":
                return client.view(run, at)
            case "history":
                return client.history(run)
            case "at" if at is not None:
                return client.at(run, at)
            case "signal":
                name = str(message.get("name") or "")
                return client.signal(run, name, self._encoded(message.get("value"), name), str(message.get("id")))
            case "cancel":
                return client.cancel(run, "stopped in a notebook")
            case "terminate":
                return client.ask(demands.terminate(run, "terminated in a notebook"))
            case "update":
                return client.ask(demands.update(run, message, self._encoded))
            case "complete":
                return client.ask(demands.complete(message, self._encoded))
            case "settle":
                return client.ask(demands.settle(run, message))
            case "retry":
                return client.ask(demands.retry(run, message))
            case other:
                raise UserError(f"a widget cannot ask for {other!r}")

    def _encoded(self, value: Any, name: str) -> Value:
        return codec.encode(value, ValueFiles(self._home).save, name)

    def _follow(self, message: dict[str, Any]) -> None:
        mark, run = message["id"], str(message.get("run"))
        client = Client(self._home)
        with self._lock:
            self._followed[mark] = client
        try:
            for update in client.watch(None if run == ALL else run, settled=True):
                self._send({"id": mark, "update": _plain(update)})
            self._send({"id": mark, "update": {"last": True}})
        except FlowbookError as error:
            # Closed because nobody looks any more, or lost; the picture then says that it is not live.
            self._send({"id": mark, "update": {"away": True, "reason": str(error)}})
        finally:
            self._unfollow(mark)

    def _unfollow(self, mark: str) -> None:
        with self._lock:
            client = self._followed.pop(mark, None)
        if client is not None:
            client.close()


def _plain(answer: Any) -> Any:
    """As JSON: answers hold events and encoded values."""
    return msgspec.json.decode(msgspec.json.encode(answer))
