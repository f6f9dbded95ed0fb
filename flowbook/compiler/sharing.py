"""Which shared cells the steps use, and whether those can stand alone."""

from __future__ import annotations

from flowbook.compiler.cells import Page, PageCell
from flowbook.compiler.diagnostics import Diagnostic


def used(page: Page, names: set[str]) -> list[PageCell]:
    """Shared cells that say so, and those that hold something of ``names``, directly or not; in page order."""
    cells = [cell for cell in page.cells if cell.part == "shared" and cell.names is not None]
    chosen = [cell for cell in cells if not cell.implied]
    wanted = set(names)
    while True:
        for cell in chosen:
            wanted |= set(cell.names.reads) | set(cell.names.may_read) if cell.names else set()
        more = [cell for cell in cells if cell not in chosen and cell.binds() & wanted]
        if not more:
            return sorted(chosen, key=lambda cell: cell.number)
        chosen += more


def check(page: Page, shared: list[PageCell], bound: set[str], findings: list[Diagnostic]) -> None:
    """Shared code runs apart from the notebook: it may use other shared code (``bound``), and nothing else."""
    for cell in shared:
        for name, place in cell.names.reads.items() if cell.names else ():
            if name in bound:
                continue
            owner = next((c for c in page.cells if c.part != "shared" and name in c.writes()), None)
            if owner is None:
                fix = "define it in a shared cell, or give it to the function as an argument"
                message = f"'{name}' is not defined anywhere on the page"
                findings.append(cell.at(place, "FB010", message, fix=fix, severity="warning"))
            elif owner.part == "scratch":
                message = f"shared code reads '{name}', which only the scratch cell {owner.number} defines"
                fix = f"add '#| shared' to cell {owner.number}, or give '{name}' to the function"
                findings.append(cell.at(place, "FB013", message, fix=fix))
            else:
                who = "the params cell" if owner.part == "params" else f"step '{owner.step}'"
                message = f"shared code reads '{name}', which {who} (cell {owner.number}) makes"
                fix = f"give '{name}' to the function as an argument"
                findings.append(cell.at(place, "FB013", message, fix=fix))
