"""Requests to a server under test, as a browser with a token makes them."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

from tests.jupyter.servers import Server


def ask(server: Server, method: str, route: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    """Status and JSON of one request, logged in unless ``headers`` say otherwise."""
    data = None if method == "GET" else (body if isinstance(body, bytes) else json.dumps(body or {}).encode())
    given = headers if headers is not None else {"Authorization": f"token {server.token}"}
    request = urllib.request.Request(f"{server.url}/flowbook/api/{route}", data, given, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


def notebook(*cells: str) -> dict[str, Any]:
    return {
        "cells": [
            {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": text, "outputs": [], "execution_count": None}
            for n, text in enumerate(cells, 1)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def finished(server: Server, run: str, path: str = "a.ipynb") -> Any:
    """The run's view once it is over."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        view = ask(server, "GET", f"runs/{run}/view?path={path}")[1]
        if view["status"] not in ("running", "waiting"):
            return view
        time.sleep(0.05)
    raise AssertionError(f"{run} did not end: {view['status']}")
