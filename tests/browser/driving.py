"""What a person does in JupyterLab, by name."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.jupyter.servers import Server


def put(lab: Server, name: str, what: Path | dict[str, Any]) -> None:
    """A file of a folder, or a notebook, into the folder that the lab shows."""
    if isinstance(what, Path):
        shutil.copy(what / name, lab.root / name)
    else:
        (lab.root / name).write_text(json.dumps(what))


def open_notebook(page: Page, lab: Server, name: str) -> None:
    """A fresh page with one notebook; its kernel may still be on its way."""
    page.goto(f"{lab.url}/lab/workspaces/{name.replace('.', '-')}/tree/{name}?token={lab.token}&reset")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)


def wait_for_kernel(page: Page, lab: Server, name: str) -> None:
    """Until the server counts this page's connection to the notebook's kernel.

    JupyterLab shows "idle" before there is any kernel, and drops what is to run then, or asks which kernel to take.
    """
    end = time.monotonic() + 60
    while time.monotonic() < end:
        sessions = page.request.get(f"{lab.url}/api/sessions?token={lab.token}").json()
        kernels = [session["kernel"] for session in sessions if session["path"] == name]
        if any(kernel["connections"] and kernel["execution_state"] == "idle" for kernel in kernels):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"no kernel came for {name}: {sessions}")


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


def open_run(page: Page) -> Locator:
    """The view of the run that the strip shows."""
    strip(page).get_by_role("button", name="Open").click()
    return page.locator(".flow-RunView")


def shut_kernel_down(page: Page) -> None:
    """Kernel, Shut Down Kernel."""
    page.locator(".lm-MenuBar-item", has_text="Kernel").click()
    page.locator(".lm-Menu-itemLabel:text-is('Shut Down Kernel')").click()


def run_cell(page: Page, index: int) -> None:
    """Run one cell in the kernel, to its end."""
    ask_for(page, index)
    expect(cell(page, index).locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]"))


def ask_for(page: Page, index: int) -> None:
    """Ask the kernel to run one cell."""
    cell(page, index).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")


def cell(page: Page, index: int) -> Locator:
    return page.locator(".jp-NotebookPanel .jp-Cell").nth(index)
