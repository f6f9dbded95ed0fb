"""The documentation is complete: every command, flag, annotation and finding is in it, and its links resolve."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from flowbook.cli.parser import build

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands() -> dict[str, argparse.ArgumentParser]:
    """Sub-parsers by name."""
    found = next(a for a in build()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(found.choices)


@pytest.mark.parametrize("name", sorted(commands()))
def test_command_is_documented_and_has_examples(name: str) -> None:
    guide = (ROOT / "docs/guide/cli.md").read_text()
    parser = commands()[name]
    assert re.search(rf"^### `flowbook {name}\b", guide, re.MULTILINE), f"docs/guide/cli.md has no section for {name}"
    section = re.split(rf"^### `flowbook {name}\b", guide, maxsplit=1, flags=re.MULTILINE)[1].split("\n### ")[0]
    flags = {flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")}
    missing = [flag for flag in flags - {"--help", "--json"} if flag not in section]
    assert not missing
    assert parser.epilog and "examples:" in parser.epilog and f"flowbook {name}" in parser.epilog


def test_every_annotation_key_is_documented() -> None:
    annotations = pytest.importorskip("flowbook.compiler.annotations")
    guide = (ROOT / "docs/guide/annotations.md").read_text()
    missing = [key for key in annotations.KEYS if f"`{key}`" not in guide]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_decision_has_its_four_parts() -> None:
    records = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert records
    for record in records:
        text = record.read_text()
        for part in ("## Context", "## Choice", "## Refused", "## How we would know we were wrong"):
            assert part in text, f"{record.name} lacks '{part}'"
