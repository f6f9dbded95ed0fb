"""A person in JupyterLab: sees the flow, runs it, watches it, loses the kernel, answers, forks."""

from __future__ import annotations

import os
import re
import signal

import pytest
from playwright.sync_api import Page, expect

from tests.browser.driving import (
    cell_strip,
    open_notebook,
    open_panel,
    open_run,
    put,
    run_cell,
    run_workflow,
    shut_kernel_down,
    strip,
    wait_for_kernel,
)
from tests.jupyter.asking import ask, notebook
from tests.jupyter.servers import REPOSITORY, Server

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SAMPLES = REPOSITORY / "sample_notebooks"

SLOW = notebook(
    "import time",
    "#| params\ncount = 8",
    "#| step: load\norders = list(range(count))\nprint('loaded', count)",
    "#| step: price\n#| map: orders as order\n#| concurrency: 1\ntime.sleep(0.7)\nprice = order * 10",
    "#| step: add\ntotal = sum(price)",
)

FAILS = notebook(
    "#| step: load\nrows = [1, 2]", "#| step: divide\nshare = rows[0] / 0", "#| step: tell\ntext = str(share)"
)


def test_the_sample_shows_its_steps_and_its_graph(page: Page, lab: Server) -> None:
    put(lab, "provision_vm.ipynb", SAMPLES)
    put(lab, "cloud.py", SAMPLES)
    open_notebook(page, lab, "provision_vm.ipynb")
    expect(cell_strip(page, "create")).to_contain_text("name, region, size")
    expect(cell_strip(page, "wait_until_ready")).to_be_visible()
    panel = open_panel(page)
    expect(panel.locator("h2")).to_have_text("provision_vm")
    for step in ("plan", "create", "wait_until_ready", "record", "delete"):
        expect(panel.locator(".flow-Panel-graph")).to_contain_text(step)
    expect(panel).to_contain_text("No problems")


def test_a_run_is_followed_while_the_kernel_is_gone(page: Page, lab: Server) -> None:
    put(lab, "slow.ipynb", SLOW)
    open_notebook(page, lab, "slow.ipynb")
    wait_for_kernel(page, lab, "slow.ipynb")
    expect(cell_strip(page, "load")).to_be_visible()
    run_workflow(page)
    expect(strip(page)).to_contain_text(re.compile(r"price \d of 8"))
    shut_kernel_down(page)
    expect(strip(page)).to_contain_text("Kernel gone. The run does not need it.")
    expect(cell_strip(page, "price").locator(".flow-badge")).to_contain_text("running")
    expect(strip(page)).to_contain_text("succeeded", timeout=60_000)
    expect(strip(page)).to_contain_text("3 of 3 done")
    expect(cell_strip(page, "price")).to_contain_text("8 of 8")
    expect(cell_strip(page, "add").locator(".flow-badge")).to_contain_text("done")
    cell_strip(page, "add").click()
    expect(open_panel(page).locator(".flow-values")).to_contain_text("280")


@pytest.mark.crash
def test_a_run_is_followed_past_the_death_of_its_engine(page: Page, lab: Server) -> None:
    put(lab, "crash.ipynb", SLOW)
    open_notebook(page, lab, "crash.ipynb")
    run_workflow(page)
    expect(strip(page)).to_contain_text(re.compile(r"price [2-5] of 8"))
    engine = ask(lab, "GET", "status?path=crash.ipynb")[1]["pid"]
    os.kill(engine, signal.SIGKILL)
    expect(strip(page)).to_contain_text("succeeded", timeout=60_000)
    expect(cell_strip(page, "price")).to_contain_text("8 of 8")
    assert ask(lab, "GET", "status?path=crash.ipynb")[1]["pid"] != engine
    run = strip(page).locator(".flow-id").inner_text()
    history = ask(lab, "GET", f"runs/{run}/history?path=crash.ipynb")[1]
    done = [e["event"] for e in history if e["event"]["kind"] == "StepCompleted"]
    items = [event["item"] for event in done if event["step"] == "price"]
    assert sorted(items) == list(range(8)), "every item once, those from before the crash kept"


def test_a_run_goes_on_without_its_page(page: Page, lab: Server) -> None:
    put(lab, "reload.ipynb", SLOW)
    open_notebook(page, lab, "reload.ipynb")
    run_workflow(page)
    expect(strip(page)).to_contain_text(re.compile(r"price \d of 8"))
    run = strip(page).locator(".flow-id").inner_text()
    page.goto("about:blank")
    open_notebook(page, lab, "reload.ipynb")
    expect(strip(page).locator(".flow-id")).to_have_text(run)
    expect(strip(page)).to_contain_text("succeeded", timeout=60_000)


def test_typing_changes_the_strips_and_lists_problems(page: Page, lab: Server) -> None:
    put(lab, "typing.ipynb", SLOW)
    open_notebook(page, lab, "typing.ipynb")
    expect(cell_strip(page, "add")).to_contain_text("total")
    page.locator(".jp-Cell", has_text="total = sum").locator(".cm-content").click()
    page.keyboard.press("Control+End")
    page.keyboard.type("\naverage = total / count")
    expect(cell_strip(page, "add")).to_contain_text("average")
    page.keyboard.type("\nbroken = (")
    panel = open_panel(page)
    expect(panel.locator(".flow-problem").first).to_be_visible()
    panel.locator(".flow-problem").first.click()
    expect(page.locator(".jp-Cell.jp-mod-active")).to_contain_text("broken")


def test_a_finding_is_marked_in_its_cell_and_fixed_by_a_button(page: Page, lab: Server) -> None:
    put(lab, "marks.ipynb", notebook("#| step: load\n#| retires: 3\nrows = [1]", "#| step: add\ntotal = sum(rows)"))
    open_notebook(page, lab, "marks.ipynb")
    expect(page.locator(".flow-mark-error")).to_have_text("retires")
    problem = open_panel(page).locator(".flow-problem")
    expect(problem).to_contain_text("did you mean 'retries'?")
    expect(problem.locator(".flow-badge")).to_have_attribute("aria-label", "error")
    page.get_by_role("button", name="Fix it").click()
    expect(page.locator(".jp-Cell", has_text="rows = [1]").first).to_contain_text("#| retries: 3")
    expect(page.locator(".flow-mark")).to_have_count(0)
    expect(open_panel(page)).to_contain_text("No problems")


def test_a_failure_says_where_and_is_forked_with_a_plan(page: Page, lab: Server) -> None:
    put(lab, "fails.ipynb", FAILS)
    open_notebook(page, lab, "fails.ipynb")
    run_workflow(page)
    expect(strip(page)).to_contain_text("failed")
    expect(strip(page)).to_contain_text("divide: ZeroDivisionError")
    page.locator(".jp-Cell", has_text="share = rows").locator(".cm-content").click()
    page.keyboard.press("Control+End")
    page.keyboard.press("Backspace")
    page.keyboard.type("2")
    expect(strip(page)).to_contain_text("edited since this run")
    strip(page).get_by_role("button", name="Fork").click()
    plan = page.locator(".flow-Plan")
    expect(plan.locator("tr[data-action=reuse]")).to_contain_text("load")
    expect(plan.locator("tr[data-action=rerun]")).to_contain_text("its code changed")
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    expect(strip(page)).to_contain_text("succeeded", timeout=30_000)
    expect(cell_strip(page, "load").locator(".flow-badge")).to_contain_text("reused")


def test_a_waiting_run_is_answered(page: Page, lab: Server) -> None:
    put(lab, "approval.ipynb", SAMPLES)
    open_notebook(page, lab, "approval.ipynb")
    run_workflow(page)
    strip(page).get_by_role("button", name="Signal").click()
    expect(page.locator(".jp-Dialog")).to_contain_text("approval")
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    expect(strip(page)).to_contain_text("succeeded", timeout=30_000)


def test_a_paused_run_says_why_and_is_resumed(page: Page, lab: Server) -> None:
    put(lab, "paused.ipynb", notebook("import written_later", "#| step: use\nfound = written_later.VALUE"))
    open_notebook(page, lab, "paused.ipynb")
    run_workflow(page)
    expect(strip(page)).to_contain_text("paused")
    expect(strip(page)).to_contain_text("written_later")
    (lab.root / "written_later.py").write_text("VALUE = 3")
    strip(page).get_by_role("button", name="Resume").click()
    expect(strip(page)).to_contain_text("succeeded")


def test_a_run_is_stopped(page: Page, lab: Server) -> None:
    put(lab, "stop.ipynb", SLOW)
    open_notebook(page, lab, "stop.ipynb")
    run_workflow(page)
    expect(strip(page)).to_contain_text(re.compile(r"price \d of 8"))
    strip(page).get_by_role("button", name="Stop").click()
    expect(strip(page)).to_contain_text("cancelled")


def test_the_launcher_makes_a_notebook_that_runs(page: Page, lab: Server) -> None:
    page.goto(f"{lab.url}/lab/workspaces/new?token={lab.token}&reset")
    page.locator(".jp-LauncherCard", has_text="Workflow notebook").click()
    expect(cell_strip(page, "enrich")).to_be_visible(timeout=60_000)
    run_workflow(page)
    expect(strip(page)).to_contain_text("succeeded", timeout=60_000)
    page.locator(".flow-StatusItem").click()
    expect(page.locator(".flow-Runs .flow-run").first).to_contain_text("succeeded")


def test_the_run_view_goes_back_in_time(page: Page, lab: Server) -> None:
    put(lab, "travel.ipynb", SLOW)
    open_notebook(page, lab, "travel.ipynb")
    run_workflow(page)
    expect(strip(page)).to_contain_text("succeeded", timeout=60_000)
    view = open_run(page)
    expect(view).to_contain_text("succeeded")
    scrubber = view.locator("input[type=range]").first
    scrubber.focus()
    page.keyboard.press("Home")
    expect(view).to_contain_text("not reached")
    page.keyboard.press("End")
    expect(view).not_to_contain_text("not reached")


def test_a_run_below_a_cell_lives_without_the_kernel(page: Page, lab: Server) -> None:
    put(lab, "shown.ipynb", SLOW)
    put(lab, "shows.ipynb", notebook("from flowbook import run\nrun('shown.ipynb')"))
    open_notebook(page, lab, "shows.ipynb")
    wait_for_kernel(page, lab, "shows.ipynb")
    run_cell(page, 0)
    output = page.locator(".flow-Output")
    expect(output).to_contain_text("of 3 done")
    shut_kernel_down(page)
    expect(output).to_contain_text(re.compile(r"price \d of 8"))
    expect(output).to_contain_text("succeeded", timeout=60_000)
    expect(output.locator("svg")).to_contain_text("price")
    output.locator("a").click()
    expect(page.locator(".flow-RunView")).to_contain_text("succeeded")
