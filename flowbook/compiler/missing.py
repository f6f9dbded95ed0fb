"""What to say where a name or a step that a cell asks for is not there: the likeliest reason, and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from flowbook.compiler.annotations import Option
from flowbook.compiler.cells import Page, PageCell
from flowbook.compiler.diagnostics import Diagnostic, Edit
from flowbook.compiler.scopes import Place


def name(
    page: Page,
    cell: PageCell,
    wanted: str,
    place: Place | Option | None,
    known: Iterable[str],
    items: Mapping[str, PageCell],
) -> Diagnostic:
    """A finding for a name that no step above ``cell`` defines; ``items`` are the item names of maps."""
    steps = [other for other in page.cells if other.part == "step"]
    above = [other for other in steps if other.number < cell.number and other.names]
    if wanted in items:
        at, number = items[wanted], items[wanted].number
        message = f"'{wanted}' is one item of the map in cell {number}; other cells do not know it"
        fix = f"use a name that cell {number} writes ({', '.join(at.writes()) or 'it writes none'}), as a list"
        return cell.at(place, "FB040", message, fix=fix)
    importer = next((other for other in above if other.names and wanted in other.names.imports), None)
    if importer is not None:
        message = f"'{wanted}' is imported inside step '{importer.step}' (cell {importer.number}) and known only there"
        return cell.at(place, "FB018", message, fix="move the import to a cell of its own, at the top of the page")
    below = next((other for other in steps if wanted in other.writes() and other.number > cell.number), None)
    if below is not None:
        message = f"'{wanted}' is defined below, in cell {below.number} \"{below.step}\""
        return cell.at(place, "FB021", message, fix=f"move cell {below.number} above this one")
    message = f"'{wanted}' is read here, but no step above defines it"
    private = next((other for other in above if other.names and wanted in other.names.private), None)
    if private is not None:
        message = f"'{wanted}' stays inside step '{private.step}' (cell {private.number})"
        fix = "loop variables, 'as' targets and names that begin with '_' are private: give it another name there"
        return cell.at(place, "FB010", message, fix=fix)
    scratch = next((other for other in page.cells if other.part == "scratch" and wanted in other.writes()), None)
    if scratch is not None:
        fix = f"add '#| step' to cell {scratch.number}, which defines it (or '#| shared', if it is a constant)"
        return cell.at(place, "FB010", message, fix=fix)
    near = difflib.get_close_matches(wanted, list(known), 1, 0.75)
    if not near:
        return cell.at(place, "FB010", message, fix="define it in a step above, or in the params cell")
    found = cell.at(place, "FB010", f"{message}; did you mean '{near[0]}'?", fix=f"write '{near[0]}'")
    if isinstance(place, Place):
        edit = Edit(found.cell, found.line, found.column, found.end_column, near[0])
        return cell.at(place, "FB010", found.message, fix=found.fix, edits=(edit,))
    return found


def step(cell: PageCell, option: Option, wanted: str, steps: Iterable[str]) -> Diagnostic:
    """A finding for an annotation that names a step there is not."""
    near = difflib.get_close_matches(wanted, [other for other in steps if other != cell.step], 1, 0.6)
    fix = f"did you mean '{near[0]}'?" if near else f"write '#| step: {wanted}' on the cell that is meant"
    found = cell.at(option, "FB012", f"there is no other step called '{wanted}'", fix=fix)
    if not near or option.text != wanted:
        return found
    edit = Edit(found.cell, found.line, found.column, found.end_column, near[0])
    return cell.at(option, "FB012", found.message, fix=fix, edits=(edit,))
