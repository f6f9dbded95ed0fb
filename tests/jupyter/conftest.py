from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.jupyter.servers import Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root, private = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("private")
    with serving(root, private, "jupyter_server") as running:
        yield running
