"""The widgets in a real JupyterLab: they follow a run by themselves, and go on when the kernel is gone."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import browser, lab, page
from tests.browser.driving import ask_for, open_notebook, put, run_cell, wait_for_kernel
from tests.jupyter.asking import notebook
from tests.jupyter.servers import Server

__all__ = ["browser", "lab", "page"]
pytestmark = pytest.mark.browser

WORK = notebook(
    "#| params\nregion = 'eu'",
    "#| step: load\norders = [3, 1, 2]",
    "#| step: approve\n#| wait: approval\napproved = approval\nprint('approved', approved)",
    "#| step: total\ntotal = sum(orders)",
)
# The extension's own renderers would come first; this leaves them nothing but the widget.
WIDGET = "display({kind: bundle[kind] for kind in bundle if 'widget-view' in kind}, raw=True)"
LOOK = notebook(
    "from flowbook import flow\nwork = flow('work.ipynb')\nrun = work.run()",
    f"bundle = run._repr_mimebundle_()\n{WIDGET}",
    f"bundle = work.graph()._repr_mimebundle_()\n{WIDGET}",
    "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
)


def test_widgets_follow_a_run_and_act_on_it_without_a_kernel(lab: Server, page: Page) -> None:
    run = shown(lab, page)
    graph = page.locator(".jp-OutputArea .fb-graph").last
    expect(graph.locator("[data-step=load]")).to_have_attribute("aria-label", re.compile("load, done"))
    ask_for(page, 3)
    # JupyterLab says that the kernel has died, over everything.
    page.locator(".jp-Dialog").get_by_role("button", name="Ok").click()
    approve(run)
    run.locator("input[type=range]").focus()
    page.keyboard.press("Home")
    expect(run.locator(".fb-band")).to_contain_text("Viewing event 1")
    page.keyboard.press("l")
    expect(run.locator(".fb-band")).to_be_hidden()


def test_where_the_page_tells_of_no_server_the_kernel_answers(lab: Server, page: Page) -> None:
    # A notebook of its own: the kernel of the other one has been killed, and JupyterLab may still be saying so.
    run = shown(lab, page, "alone.ipynb", before="document.getElementById('jupyter-config-data').remove()")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    approve(run)
    run.get_by_role("tab", name="Events").click()
    expect(run.locator(".fb-list")).to_contain_text("signal came")
    assert not [url for url in asked if "flowbook/api/runs" in url and "signal" in url]


def shown(lab: Server, page: Page, name: str = "look.ipynb", before: str = "0") -> Locator:
    """The widget of a run that waits for its approval, in the notebook of this name."""
    put(lab, "work.ipynb", WORK)
    put(lab, name, LOOK)
    open_notebook(page, lab, name)
    wait_for_kernel(page, lab, name)
    page.evaluate(before)
    for index in range(3):
        run_cell(page, index)
    run = page.locator(".jp-OutputArea .fb-run")
    expect(status(run)).to_have_attribute("data-status", "waiting")
    return run


def approve(run: Locator) -> None:
    run.get_by_role("button", name="Signal").click()
    run.locator(".fb-ask input").fill('{"by": "me"}')
    run.get_by_role("button", name="Send").click()
    expect(status(run)).to_have_attribute("data-status", "succeeded")


def status(run: Locator) -> Locator:
    return run.locator(".fb-head .fb-status").first
