"""What a person does in JupyterLab, by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

from tests.jupyter.servers import Server


def put(lab: Server, name: str, what: Path | dict[str, Any]) -> None:
    """A file of a folder, or a notebook, into the folder that the lab shows."""
    if isinstance(what, Path):
        shutil.copy(what / name, lab.root / name)
    else:
        (lab.root / name).write_text(json.dumps(what))


def open_notebook(page: Page, lab: Server, name: str) -> None:
    """A fresh page with one notebook and its kernel."""
    page.goto(f"{lab.url}/lab/workspaces/{name.replace('.', '-')}/tree/{name}?token={lab.token}&reset")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=60_000)


def strip(page: Page) -> Locator:
    """The run strip."""
    return page.locator(".flow-RunStrip:not(.lm-mod-hidden)")


def cell_strip(page: Page, step: str) -> Locator:
    """The strip of one step's cell."""
    return page.locator(".flow-CellStrip", has=page.locator(f".flow-name:text-is('{step}')"))


def open_panel(page: Page) -> Locator:
    """The Flow panel, opened if need be."""
    panel = page.locator(".flow-Panel")
    if not panel.is_visible():
        page.locator(".jp-NotebookPanel-toolbar [data-jp-item-name=flowbook-panel] *").first.click()
    return panel


def run_workflow(page: Page) -> None:
    """Press the button, and accept the parameters as they are."""
    page.wait_for_selector(".flow-CellStrip")
    page.locator(".jp-NotebookPanel-toolbar [data-jp-item-name=flowbook-run] *").first.click()
    page.wait_for_selector(".jp-Dialog button.jp-mod-accept, .flow-RunStrip:not(.lm-mod-hidden)")
    accept = page.locator(".jp-Dialog button.jp-mod-accept")
    if accept.count():
        accept.click()
    page.wait_for_selector(".flow-RunStrip:not(.lm-mod-hidden)")


def shut_kernel_down(page: Page) -> None:
    """Kernel, Shut Down Kernel."""
    page.locator(".lm-MenuBar-item", has_text="Kernel").click()
    page.locator(".lm-Menu-itemLabel:text-is('Shut Down Kernel')").click()


def run_first_cell(page: Page) -> None:
    """Run the first cell in the kernel; JupyterLab drops the request while it still connects, so ask again."""
    prompt = page.locator(".jp-Cell .jp-InputPrompt").first
    for _ in range(10):
        page.locator(".jp-Cell .cm-content").first.click()
        page.keyboard.press("Control+Enter")
        page.wait_for_timeout(1000)
        if prompt.inner_text() != "[ ]:":
            return
