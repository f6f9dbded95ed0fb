"""A module as the engine stores it: the source a run pins, and what was learnt from it when compiled.

Made by ``compiler``; loaded by digest in workers; never edited.
"""

from __future__ import annotations

import msgspec

from flowbook.core.graph import Graph
from flowbook.core.ids import CellId, Digest


class Cell(msgspec.Struct, frozen=True, omit_defaults=True):
    """A cell as it ran. ``number`` counts from 1 over all cells of the page."""

    id: CellId
    number: int
    source: str
    step: str = ""


class LineSpan(msgspec.Struct, frozen=True):
    """``count`` module lines from ``line`` are the cell's lines from ``cell_line`` on (all from 1)."""

    line: int
    count: int
    cell: CellId
    cell_line: int


class Imported(msgspec.Struct, frozen=True, omit_defaults=True):
    """A module of the same folder that the module imports, directly or not, as it was then.

    ``file`` is where it lies; ``package``: other modules lie in it.
    """

    name: str
    source: str
    file: str = ""
    package: bool = False


class Workflow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One workflow of a module.

    ``parameters`` is a list of ``{name, annotation, default, secret}``; ``beside`` is the imported module that defines
    it, "" for the module itself.
    """

    name: str
    graph: Graph = Graph()
    parameters: tuple[dict[str, object], ...] = ()
    doc: str = ""
    beside: str = ""


class Module(msgspec.Struct, frozen=True, omit_defaults=True):
    """Source and facts.

    ``digest`` is of ``name``, ``source`` and ``imports``; ``origin`` the file it came from; ``steps`` maps a step's
    name to the digest of its code and of the shared code it uses; ``folder`` is put on ``sys.path`` when the module is
    loaded.
    """

    digest: Digest
    name: str
    source: str
    workflows: tuple[Workflow, ...] = ()
    steps: dict[str, Digest] = {}
    spans: tuple[LineSpan, ...] = ()
    cells: tuple[Cell, ...] = ()
    origin: str = ""
    folder: str = ""
    imports: tuple[Imported, ...] = ()

    @property
    def own(self) -> list[Workflow]:
        """The workflows that the module itself defines."""
        return [workflow for workflow in self.workflows if not workflow.beside]

    def workflow(self, name: str) -> Workflow | None:
        """The workflow with this name, or None."""
        return next((w for w in self.workflows if w.name == name), None)

    def locate(self, line: int) -> tuple[CellId, int] | None:
        """The cell and the line in it that module line ``line`` came from, or None."""
        for span in self.spans:
            if span.line <= line < span.line + span.count:
                return span.cell, span.cell_line + line - span.line
        return None
