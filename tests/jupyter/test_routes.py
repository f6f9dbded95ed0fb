"""Every route is there, wants a login, and says what is wrong in JSON."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest

from tests.jupyter.asking import ask, notebook
from tests.jupyter.servers import Server

pytestmark = pytest.mark.slow

ROUTES = [
    ("POST", "compile"),
    ("GET", "runs"),
    ("POST", "runs"),
    ("GET", "runs/some-run"),
    ("GET", "runs/some-run/view"),
    ("GET", "runs/some-run/history"),
    ("GET", "runs/some-run/at?at=1"),
    ("POST", "runs/some-run/signal"),
    ("POST", "runs/some-run/cancel"),
    ("POST", "runs/some-run/resume"),
    ("POST", "runs/some-run/fork"),
    ("POST", "export"),
    ("GET", "status"),
]


SMALL = notebook("#| params\ncount = 3", "#| step: double\ntwice = count * 2", "#| step: show\ntext = f'got {twice}'")


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_a_stranger_gets_nothing(server: Server, method: str, route: str) -> None:
    status, _ = ask(server, method, route, headers={})
    assert status == 403


@pytest.mark.parametrize(("method", "route"), [r for r in ROUTES if r[0] == "POST"])
def test_a_form_on_another_site_cannot_act(server: Server, method: str, route: str) -> None:
    # Logged in by cookie, as a browser is, but without the token that only our own pages can read.
    login = urllib.request.Request(f"{server.url}/api/status?token={server.token}")
    with urllib.request.urlopen(login, timeout=60) as response:
        cookies = "; ".join(c.split(";")[0] for c in response.headers.get_all("Set-Cookie") or [])
    assert ask(server, method, route, headers={"Cookie": cookies})[0] == 403
    foreign = {"Cookie": cookies, "Origin": "http://elsewhere.example"}
    assert ask(server, method, route, headers=foreign)[0] in (403, 404)


def test_looking_starts_no_engine(server: Server) -> None:
    assert ask(server, "GET", "runs?path=a/b.ipynb")[1]["runs"] == []
    assert ask(server, "GET", "status")[1]["begun"] is False
    assert not (server.root / ".flowbook" / "token").exists()


@pytest.mark.parametrize(
    ("method", "route", "body", "status", "type", "words"),
    [
        ("POST", "compile", {"path": "a.ipynb", "content": 3}, 400, "UserError", "not a notebook"),
        ("POST", "compile", {"content": SMALL}, 400, "UserError", "which notebook"),
        ("POST", "compile", b"{", 400, "UserError", "not JSON"),
        ("POST", "compile", {"path": "../../etc/x.ipynb", "content": SMALL}, 400, "UserError", "outside the folder"),
        ("GET", "runs?home=/nowhere/at/all", None, 400, "UserError", "not a state folder"),
        ("GET", "runs?home=relative", None, 400, "UserError", "not a state folder"),
        ("POST", "runs/x/signal", {"path": "a.ipynb"}, 400, "UserError", "'name' is missing"),
        ("GET", "runs/x/view?at=soon", None, 400, "UserError", "'at' must be the number"),
        ("GET", "runs/x/at", None, 400, "UserError", "at=N"),
    ],
)
def test_mistakes_are_explained(
    server: Server, method: str, route: str, body: Any, status: int, type: str, words: str
) -> None:
    got, answer = ask(server, method, route, body)
    assert (got, answer["error"]["type"]) == (status, type)
    assert words in answer["error"]["message"]
