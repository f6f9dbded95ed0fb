"""Who may look, who may act: Jupyter's authorizer decides, on every route and on the socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from tests.jupyter.asking import ask, notebook
from tests.jupyter.servers import Server, serving

pytestmark = pytest.mark.slow

# An authorizer may be asynchronous: an answer that nobody awaits must not count as a yes.
AUTHORIZER = """
from jupyter_server.auth import Authorizer

class Readers(Authorizer):
    async def is_authorized(self, handler, user, action, resource):
        return resource == "flowbook" and action == "read"

class Nobody(Authorizer):
    async def is_authorized(self, handler, user, action, resource):
        return False
"""
SMALL = notebook("#| step: one\nx = 1")
BODY = {"path": "a.ipynb", "content": SMALL}
LOOKS = [
    ("POST", "compile"),
    ("POST", "export"),
    ("GET", "runs?path=a.ipynb"),
    ("GET", "status?path=a.ipynb"),
]
ACTS = [
    ("POST", "runs"),
    ("POST", "runs/some-run/signal"),
    ("POST", "runs/some-run/cancel"),
    ("POST", "runs/some-run/resume"),
    ("POST", "runs/some-run/fork"),
]
LOOKS_AT_ONE = [("GET", f"runs/some-run{what}") for what in ("", "/view", "/history", "/at?at=1")]


def shared(tmp_path_factory: pytest.TempPathFactory, authorizer: str) -> Iterator[Server]:
    root, private = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("private")
    (root / "sharing.py").write_text(AUTHORIZER)
    with serving(root, private, "jupyter_server", f"--ServerApp.authorizer_class=sharing.{authorizer}") as running:
        yield running


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from shared(tmp_path_factory, "Readers")


@pytest.fixture(scope="module")
def nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from shared(tmp_path_factory, "Nobody")


async def knock(server: Server) -> None:
    request = HTTPRequest(f"{server.ws}/flowbook/ws", headers={"Authorization": f"token {server.token}"})
    socket = await websocket_connect(request)
    socket.close()
    assert await socket.read_message() is None


def test_a_reader_looks_and_does_not_act(readers: Server) -> None:
    assert {route: ask(readers, method, route, BODY)[0] for method, route in LOOKS} == {r: 200 for _, r in LOOKS}
    assert {route: ask(readers, method, route, BODY)[0] for method, route in ACTS} == {r: 403 for _, r in ACTS}
    asyncio.run(knock(readers))
    assert not (readers.root / ".flowbook").exists()


def test_somebody_without_rights_gets_nothing(nobody: Server) -> None:
    every = [*LOOKS, *LOOKS_AT_ONE, *ACTS]
    assert {route: ask(nobody, method, route, BODY)[0] for method, route in every} == {r: 403 for _, r in every}
    with pytest.raises(HTTPClientError) as refused:
        asyncio.run(knock(nobody))
    assert refused.value.code == 403
