"""For all tests: laws are about what holds, not about how long it takes; and a page that fails a test is described."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("flowbook", deadline=None)
settings.load_profile("flowbook")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if page is not None and report.when == "call" and report.failed:
        report.sections.append(("what the page showed", shown(page)))
    return report


def shown(page: Any) -> str:
    """Where the browser is, and the text of what is open there."""
    parts = (".jp-Dialog", ".jp-NotebookPanel", ".flow-Panel", ".flow-RunView")
    try:
        texts = [f"{part}: {found.inner_text()}" for part in parts for found in page.locator(part).all()]
    except Exception as error:
        # The page may be what failed; the test's own error is not to be lost over that.
        texts = [repr(error)]
    return "\n".join([page.url, *texts])
