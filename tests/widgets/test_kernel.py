"""The kernel's answers, asked with a client that is not there: what is said to the browser, and from which thread."""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import Any

import pytest

from flowbook.client.asks import Ask
from flowbook.core import events as e
from flowbook.core import token
from flowbook.core.ids import Key, RunId
from flowbook.core.value import NOTHING
from flowbook.errors import EngineUnavailable, UnknownRun
from flowbook.widgets import kernel
from flowbook.widgets.kernel import Answering

LIMIT = 20


class FakeClient:
    """Answers at once; its watch ends when it is closed."""

    closed: queue.Queue[str] = queue.Queue()
    calls: queue.Queue[Any] = queue.Queue()

    def __init__(self, home: Path) -> None:
        self._over = threading.Event()

    def __enter__(self) -> FakeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._over.set()
        self.closed.put("closed")

    def view(self, run: str, at: int | None) -> dict[str, Any]:
        if run == "gone":
            raise UnknownRun("there is no run 'gone'")
        return {"id": run, "seq": at}

    def history(self, run: str) -> list[e.Recorded]:
        return [e.Recorded(1, 2.5, e.RunCompleted(NOTHING))]

    def signal(self, run: str, name: str, value: Any, id: str) -> dict[str, Any]:
        self.calls.put((run, name, bytes(value.data), id))
        return {"id": run}

    def ask(self, ask: Ask[Any]) -> dict[str, Any]:
        self.calls.put((ask.method, ask.params))
        return {"done": ask.method}

    def watch(self, run: str | None, settled: bool = False) -> Any:
        assert settled
        yield {"runs": []} if run is None else {"view": {"id": run}}
        if run == "short":
            return
        self._over.wait(LIMIT)
        raise EngineUnavailable("the client was closed.")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[Any]:
    monkeypatch.setattr(kernel, "Client", FakeClient)
    FakeClient.closed, FakeClient.calls = queue.Queue(), queue.Queue()
    return queue.Queue()


def test_questions_are_answered_with_their_own_mark(said: queue.Queue[Any], tmp_path: Path) -> None:
    answering = Answering(tmp_path, said.put)
    answering.receive({"id": "1", "ask": "view", "run": "r", "at": 7})
    assert said.get(timeout=LIMIT) == {"id": "1", "answer": {"id": "r", "seq": 7}}
    answering.receive({"id": "2", "ask": "history", "run": "r"})
    event = said.get(timeout=LIMIT)["answer"][0]
    assert (event["seq"], event["event"]["kind"], event["event"]["value"]["codec"]) == (1, "RunCompleted", "json")


def test_a_signal_carries_its_value_and_its_mark(said: queue.Queue[Any], tmp_path: Path) -> None:
    Answering(tmp_path, said.put).receive(
        {"id": "s1", "ask": "signal", "run": "r", "name": "approval", "value": {"ok": True}}
    )
    assert said.get(timeout=LIMIT)["answer"] == {"id": "r"}
    assert FakeClient.calls.get(timeout=LIMIT) == ("r", "approval", b'{"ok":true}', "s1")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"ask": "view", "run": "gone"}, "there is no run 'gone'"),
        ({"ask": "view", "run": "r", "at": "7; drop"}, "must be the number of an event"),
        ({"ask": "at", "run": "r"}, "cannot ask for 'at'"),
        ({"ask": "sql", "query": "select 1"}, "cannot ask for 'sql'"),
    ],
)
def test_what_cannot_be_answered_is_said(said: queue.Queue[Any], tmp_path: Path, message: Any, words: str) -> None:
    Answering(tmp_path, said.put).receive({"id": "1", **message})
    found = said.get(timeout=LIMIT)
    assert found["id"] == "1" and words in found["error"]


@pytest.mark.parametrize("message", [None, "text", [], {}, {"ask": "view"}, {"id": 3, "ask": "view"}])
def test_what_is_no_question_is_left_alone(said: queue.Queue[Any], tmp_path: Path, message: Any) -> None:
    before = threading.active_count()
    Answering(tmp_path, said.put).receive(message)
    assert threading.active_count() == before and said.empty()


def test_following_ends_with_the_run_or_when_nobody_looks(said: queue.Queue[Any], tmp_path: Path) -> None:
    answering = Answering(tmp_path, said.put)
    answering.receive({"id": "a", "ask": "follow", "run": "short"})
    assert said.get(timeout=LIMIT) == {"id": "a", "update": {"view": {"id": "short"}}}
    assert said.get(timeout=LIMIT) == {"id": "a", "update": {"last": True}}
    answering.receive({"id": "b", "ask": "follow", "run": "*"})
    assert said.get(timeout=LIMIT) == {"id": "b", "update": {"runs": []}}
    answering.receive({"id": "b", "ask": "unfollow"})
    assert said.get(timeout=LIMIT)["update"]["away"] is True
    answering.receive({"id": "c", "ask": "follow", "run": "long"})
    assert said.get(timeout=LIMIT)["id"] == "c"
    answering.close()
    assert said.get(timeout=LIMIT)["update"]["away"] is True


ANSWER = token.token(RunId("r"), Key("/t/sign"))


@pytest.mark.parametrize(
    ("message", "method", "holds"),
    [
        ({"ask": "terminate"}, "terminate", "terminated in a notebook"),
        ({"ask": "update", "name": "add", "values": [1, "x"]}, "update", "add"),
        ({"ask": "complete", "token": ANSWER, "value": True}, "complete", ANSWER),
        ({"ask": "complete", "token": ANSWER, "failure": "no"}, "complete", "no"),
        ({"ask": "settle", "key": "/t/vm", "note": "by hand"}, "settle_obligation", "by hand"),
        ({"ask": "retry", "key": "/t/vm"}, "retry_obligation", "/t/vm"),
    ],
)
def test_a_run_is_acted_on(
    message: dict[str, Any], method: str, holds: str, said: queue.Queue[Any], tmp_path: Path
) -> None:
    Answering(tmp_path, said.put).receive({"id": "1", "run": "r", **message})
    assert said.get(timeout=LIMIT) == {"id": "1", "answer": {"done": method}}
    asked, params = FakeClient.calls.get(timeout=LIMIT)
    assert asked == method
    assert holds in repr(params)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"ask": "update"}, "which update"),
        ({"ask": "update", "name": "add", "values": "x"}, "are a list"),
        ({"ask": "complete"}, "'token' is missing"),
        ({"ask": "settle", "note": "by hand"}, "'key' is missing"),
        ({"ask": "retry", "key": 3}, "'key' is missing"),
    ],
)
def test_what_cannot_be_done_is_explained(
    message: dict[str, Any], why: str, said: queue.Queue[Any], tmp_path: Path
) -> None:
    Answering(tmp_path, said.put).receive({"id": "1", "run": "r", **message})
    assert why in said.get(timeout=LIMIT).get("error", "")
