"""A person sees how far a step is, answers a step that waits outside, and ends a run without asking its code."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.driving import cell_strip, open_notebook, open_run, put, run_workflow, strip
from tests.jupyter.asking import notebook
from tests.jupyter.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SIGNED = notebook(
    "import time\nfrom flowbook import progress",
    "#| step: train\nfor n in range(12):\n    progress(n, 12, f'epoch {n}')\n    time.sleep(0.4)\nmodel = 1",
    "#| step: sign\n#| external: true\n#| needs: train\nsigned = None",
    "#| step: report\ntext = f'{signed} {model}'",
)


def test_progress_is_live_and_a_step_outside_is_finished_from_the_run_view(page: Page, lab: Server) -> None:
    put(lab, "signed.ipynb", SIGNED)
    open_notebook(page, lab, "signed.ipynb")
    run_workflow(page)
    expect(cell_strip(page, "train")).to_contain_text(re.compile(r"\d+% epoch \d"))
    expect(cell_strip(page, "train").locator("progress")).to_be_visible()
    expect(strip(page)).to_contain_text("sign waits for an answer from outside")
    run = open_run(page)
    expect(run.locator(".fb-outside")).to_contain_text("sign")
    run.get_by_label("Answer for sign, as JSON").fill('"Ines"')
    run.get_by_role("button", name="Complete").click()
    expect(run.locator(".fb-head .fb-status").first).to_have_attribute("data-status", "succeeded")
    run.get_by_role("tab", name="Table").click()
    run.get_by_role("button", name="sign", exact=True).click()
    expect(run.locator(".fb-details")).to_contain_text("Ines")


def test_a_run_is_terminated_after_a_second_look(page: Page, lab: Server) -> None:
    put(lab, "ended.ipynb", SIGNED)
    open_notebook(page, lab, "ended.ipynb")
    run_workflow(page)
    run = open_run(page)
    run.get_by_role("button", name="Terminate…").click()
    expect(run.locator(".fb-ask")).to_contain_text("Its code has no say")
    run.get_by_role("button", name="Not now").click()
    expect(run.locator(".fb-ask")).to_be_empty()
    run.get_by_role("button", name="Terminate…").click()
    run.locator(".fb-ask").get_by_role("button", name="Terminate", exact=True).click()
    expect(run.locator(".fb-head .fb-status").first).to_have_attribute("data-status", "terminated")
    expect(run.locator(".fb-news")).to_contain_text("terminated in JupyterLab")


OWING = notebook(
    "#| step: create\n#| undo: delete\nvm = 'vm-7'",
    "#| step: delete\n#| retries: 1\n#| backoff: 1s\nraise RuntimeError(f'{vm} is locked')",
    "#| step: check\n#| needs: create\nraise ValueError('the image is broken')",
)


def test_what_an_ended_run_owes_is_tried_again_and_settled_by_hand(page: Page, lab: Server) -> None:
    put(lab, "owing.ipynb", OWING)
    open_notebook(page, lab, "owing.ipynb")
    run_workflow(page)
    run = open_run(page)
    owed = run.get_by_role("region", name="Dealings with others").get_by_role("table")
    expect(owed).to_contain_text("vm-7 is locked")
    expect(run.locator(".fb-head .fb-status").first).to_have_attribute("data-status", "failed")
    owed.get_by_role("button", name="Try again").click()
    expect(owed.locator("a")).to_contain_text(".retry-")
    # The run has long ended: what becomes of this is seen all the same.
    expect(owed).to_contain_text("vm-7 is locked")
    owed.get_by_role("button", name="Settle…").click()
    note = run.get_by_label("What became of delete")
    note.press("Enter")
    expect(page.locator(".jp-Dialog")).to_contain_text("say what became of it")
    page.locator(".jp-Dialog").get_by_role("button", name="Close").click()
    owed.get_by_role("button", name="Settle…").click()
    note.fill("deleted in the console")
    run.locator(".fb-ask").get_by_role("button", name="Settle", exact=True).click()
    expect(owed).to_contain_text("Obligations, all settled")
    expect(owed.get_by_role("button")).to_have_count(0)
