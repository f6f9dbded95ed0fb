from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.jupyter.servers import REPOSITORY, Server, serving

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BUILT = REPOSITORY / "flowbook" / "labextension"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real JupyterLab with this checkout's built extension, and settings that keep pop-ups away."""
    assert (BUILT / "package.json").exists(), "the extension is not built: make setup"
    root, private = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("private")
    extensions = private / "labextensions"
    extensions.mkdir()
    (extensions / "flowbook").symlink_to(BUILT)
    with serving(root, private, "jupyterlab", f"--LabApp.extra_labextensions_path={extensions}") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "no Chromium found: make test installs it"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, lab: Server) -> Iterator[Page]:
    """A window; what is drawn there may raise nothing that nobody catches."""
    uncaught: list[str] = []
    context = browser.new_context(viewport={"width": 1500, "height": 950})
    page = context.new_page()
    page.on("pageerror", lambda error: uncaught.append(f"{error}\n{error.stack}"))
    page.set_default_timeout(30_000)
    expect.set_options(timeout=20_000)
    yield page
    context.close()
    assert not uncaught, "\n".join(uncaught)
