"""Names to dependencies, in page order: which version of a name each step takes, and what is wrong with that.

A reader takes the nearest definition above it. Pure; gives findings, never raises.
"""

from __future__ import annotations

import msgspec

from flowbook.compiler import missing, options, ordering, sharing
from flowbook.compiler.annotations import Option
from flowbook.compiler.cells import Page, PageCell
from flowbook.compiler.diagnostics import Diagnostic
from flowbook.compiler.ordering import Dependency
from flowbook.compiler.parameters import parameters
from flowbook.compiler.scopes import BUILTINS, Place, expression_names
from flowbook.compiler.unsteady import imports


class Plan(msgspec.Struct):
    """A step of the workflow with its names resolved.

    ``inputs`` are the parameters of its function, in order; ``condition`` what its ``when`` reads; ``previous`` the
    written names that had a definition before, where the step may be skipped; ``given`` what its undo is
    told besides; ``known`` who defines each name at this point of the page, where there is an undo.
    """

    cell: PageCell
    inputs: list[str] = []
    outputs: list[str] = []
    item: str = ""
    items: str = ""
    condition: list[str] = []
    signal: str = ""
    pause: str = ""
    binds_signal: bool = False
    empty: bool = False
    needs: list[str] = []
    undo: str = ""
    previous: list[str] = []
    given: list[str] = []
    known: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The step's name."""
        return self.cell.step

    @property
    def has_function(self) -> bool:
        """False where the cell only waits."""
        return not self.empty or not (self.signal or self.pause)


class Flow(msgspec.Struct):
    """The whole page resolved: parameters, shared code that is used, steps in order, and what nobody reads."""

    params: PageCell | None
    parameters: list[tuple[str, str, str]]
    shared: list[PageCell]
    steps: list[Plan]
    undos: dict[str, Plan]
    results: list[str]
    diagnostics: list[Diagnostic]


class _Version(msgspec.Struct):
    """One definition of a name. ``skippable`` where it may be missing because its step was skipped."""

    owner: str
    readers: list[str] = []
    skippable: bool = False


def flow(page: Page) -> Flow:
    """Resolve the names of a page."""
    return _Resolver(page).resolve()


class _Resolver:
    def __init__(self, page: Page) -> None:
        self.page = page
        self.findings: list[Diagnostic] = list(page.diagnostics)
        self.steps = [cell for cell in page.cells if cell.part == "step" and cell.names is not None]
        self.by_name = {cell.step: cell for cell in self.steps}
        self.shared = {name for cell in page.cells if cell.part == "shared" for name in cell.binds()}
        trees = [cell.names.tree for cell in page.cells if cell.part == "shared" and cell.names is not None]
        self.imports = {name: full for tree in trees for name, full in imports(tree).items()}
        self.items: dict[str, PageCell] = {}
        self.latest: dict[str, _Version] = {}
        self.plans: list[Plan] = []
        self.dependencies: list[Dependency] = []
        self.globals: set[str] = set()

    def resolve(self) -> Flow:
        params, given = parameters(self.page, self.findings)
        for name, annotation, _ in given:
            self.latest[name] = _Version("params")
            self._annotation(params, annotation)
        targets = self._undo_targets()
        self.written = {n for cell in self.steps if cell.step not in targets for n in cell.writes()} | set(self.latest)
        self.last_read = {name: cell.number for cell in self.steps for name in _all_reads(cell)}
        for cell in self.steps:
            if cell.step not in targets:
                self.plans.append(self._plan(cell))
        undos = {cell.step: self._undo_plan(cell) for cell in self.steps if cell.step in targets}
        self._tell_undos(undos)
        self._order(targets)
        shared = sharing.used(self.page, self.globals)
        sharing.check(self.page, shared, self.shared, self.findings)
        if not self.steps and not any(found.severity == "error" for found in self.findings):
            fix = "write '#| step' at the top of a cell"
            self.findings.append(Diagnostic("FB008", "this notebook has no step", fix=fix))
        findings = sorted(self.findings, key=lambda found: (found.cell_number, found.line, found.column))
        return Flow(params, given, shared, self.plans, undos, self._results(), findings)

    def _annotation(self, params: PageCell | None, annotation: str) -> None:
        """A parameter's type is evaluated when the module is loaded, so its names must be shared code."""
        for name in expression_names(annotation) if annotation and params is not None else ():
            if name in self.shared:
                self.globals.add(name)
            elif params is not None and name not in BUILTINS:
                place = params.names.reads.get(name) if params.names else None
                fix = "import it in a cell of its own, or leave the type out"
                self.findings.append(params.at(place, "FB010", f"no shared cell defines the type '{name}'", fix=fix))

    def _results(self) -> list[str]:
        """What no later step reads."""
        return [name for name, version in self.latest.items() if version.owner != "params" and not version.readers]

    # Steps

    def _plan(self, cell: PageCell) -> Plan:
        head = cell.annotations
        plan = Plan(cell, needs=head.names("needs"), undo=(head.text("undo") or "").strip())
        plan.empty = not cell.names or not cell.names.tree.body
        plan.signal, plan.pause = options.wait(cell, self.findings)
        plan.items, plan.item = options.mapped(cell, self.findings)
        options.check(cell, self.findings)
        options.steady(cell, self.imports, self.findings)
        plan.binds_signal = bool(plan.signal) and plan.signal in cell.writes()
        first = [plan.item] if plan.item else []
        if plan.signal and not plan.binds_signal and not plan.empty:
            first.append(plan.signal)
        plan.inputs = [*first, *self._read(cell, first)]
        plan.condition = self._expression(cell, "when")
        self._mapped(plan)
        self._until(plan)
        plan.outputs = self._outputs(plan)
        self._mutations(cell, plan.inputs)
        self._take(plan, [name for name in plan.inputs if name not in first])
        if plan.undo:
            plan.known = {name: version.owner for name, version in self.latest.items()}
        self._bind(plan)
        return plan

    def _read(self, cell: PageCell, own: list[str]) -> list[str]:
        """The names the cell reads that come from steps above or are parameters."""
        found = []
        may_read = cell.names.may_read if cell.names else ()
        maybe = [name for name in may_read if name in self.latest or name in self.shared]
        for name in dict.fromkeys([*cell.reads(), *maybe]):
            if name in own:
                continue
            if name in self.latest:
                found.append(name)
            elif name in self.shared:
                self._shared_name(cell, name, cell.names.reads.get(name) if cell.names else None)
            else:
                self._unknown(cell, name)
        return found

    def _shared_name(self, cell: PageCell, name: str, place: Place | Option | None) -> None:
        """A name of shared code, which no step may bind as well once a step has read it."""
        self.globals.add(name)
        if name not in self.written:
            return
        owner = next(c for c in self.page.cells if c.part == "shared" and name in c.binds())
        message = f"'{name}' is shared code (cell {owner.number}) here, and further down the page a step's value"
        fix = f"put '#| step' or '#| params' on cell {owner.number}, or rename one of them"
        self.findings.append(cell.at(place, "FB017", message, fix=fix))

    def _expression(self, cell: PageCell, key: str) -> list[str]:
        """The names of an annotation's expression that come from steps above or are parameters."""
        option, found = cell.annotations.options.get(key), []
        for name in options.expression(cell, key, self.findings):
            if name in self.latest:
                found.append(name)
            elif name in self.shared:
                self._shared_name(cell, name, option)
            elif name not in BUILTINS:
                self._unknown(cell, name, option)
        return found

    def _mapped(self, plan: Plan) -> None:
        """What is mapped is one name, or an expression over what is known before anything runs."""
        option = plan.cell.annotations.options.get("map")
        if not plan.items or option is None:
            return
        self.items.setdefault(plan.item, plan.cell)
        used = []
        for name in expression_names(plan.items):
            if name in self.latest:
                used.append(name)
            elif name in self.shared:
                self._shared_name(plan.cell, name, option)
            elif name not in BUILTINS:
                self._unknown(plan.cell, name, option)
        if not plan.items.isidentifier() and any(self.latest[name].owner != "params" for name in used):
            message = f"'{plan.items}' is computed from a step's value, which is not known when the page is read"
            fix = "give it a name in a step, and map that name"
            self.findings.append(plan.cell.at(option, "FB011", message, fix=fix))
        self._take(plan, used)

    def _until(self, plan: Plan) -> None:
        """What ``until`` reads and the cell does not write becomes an input."""
        cell = plan.cell
        option = cell.annotations.options.get("loop.until")
        for name in options.expression(cell, "loop.until", self.findings):
            if name in (*plan.inputs, *cell.writes()):
                continue
            if name in self.latest:
                plan.inputs.append(name)
            elif name in self.shared:
                self._shared_name(cell, name, option)
            elif name not in BUILTINS:
                message = f"'{name}' is neither written nor read by this cell, so the loop could never end"
                fix = f"use a name that the cell assigns: {', '.join(cell.writes()) or 'it assigns none'}"
                self.findings.append(cell.at(option, "FB011", message, fix=fix))

    def _outputs(self, plan: Plan) -> list[str]:
        """What a step gives to others.

        Imports stay in it, and what nobody reads of functions and of names that may be unset; a stand-in for a signal
        gives what the signal would.
        """
        cell = plan.cell
        if plan.empty:
            return [plan.signal] if plan.signal else []
        if plan.binds_signal:
            return [plan.signal]
        names = cell.names
        if names is None:
            return cell.writes()
        asked = cell.annotations.names("writes")
        unset = names.unsure - set(plan.inputs)
        for name in asked:
            if name not in cell.binds():
                message, fix = f"the cell does not set '{name}', so it cannot give it", "name what the cell assigns"
                self.findings.append(cell.at(cell.annotations.options["writes"], "FB011", message, fix=fix))
        found = []
        for name in cell.writes():
            read = self.last_read.get(name, 0) > cell.number
            if name in asked or (name not in names.imports and (read or name not in names.definitions | unset)):
                found.append(name)
            if read and name in unset:
                message = f"'{name}' is not set on every way through this cell; where it is not, the step fails"
                fix = f"set it first, for example '{name} = None' on top of the cell"
                place = names.writes.get(name)
                self.findings.append(cell.at(place, "FB031", message, fix=fix, severity="warning"))
        return found

    def _take(self, plan: Plan, names: list[str]) -> None:
        for name in (*names, *plan.condition):
            version = self.latest[name]
            version.readers.append(plan.name)
            if version.owner != "params":
                self.dependencies.append(Dependency(version.owner, plan.name, name))

    def _bind(self, plan: Plan) -> None:
        cell = plan.cell
        read = [*plan.inputs, *plan.condition, *(expression_names(plan.items) if plan.items else ())]
        skippable = "when" in cell.annotations.options
        skippable = skippable or any(self.latest[name].skippable for name in read if name in self.latest)
        for name in plan.outputs:
            before = self.latest.get(name)
            if before is not None:
                between = [step for step in before.readers if step != cell.step]
                if name not in read and before.owner != "params" and between and not skippable:
                    self._ambiguous(cell, name, before.owner)
                if skippable:
                    plan.previous.append(name)
                    before.readers.append(cell.step)
                for step in (*before.readers, before.owner):
                    if step != "params":
                        self.dependencies.append(Dependency(step, cell.step))
            missing = skippable and (before is None or before.skippable)
            self.latest[name] = _Version(cell.step, skippable=missing)

    # Undo and order

    def _undo_targets(self) -> set[str]:
        targets = set()
        for cell in self.steps:
            option = cell.annotations.options.get("undo")
            if option is None or not option.text:
                continue
            if option.text not in self.by_name or option.text == cell.step:
                self.findings.append(missing.step(cell, option, option.text, self.by_name))
            else:
                targets.add(option.text)
        return targets

    def _undo_plan(self, cell: PageCell) -> Plan:
        plan = Plan(cell, outputs=cell.writes())
        options.check(cell, self.findings)
        options.check_undo(cell, self.findings)
        own = {name for do in self.plans if do.undo == cell.step for name in do.inputs if name not in do.known}
        read = [name for name in cell.reads() if name in own]
        plan.inputs = [*read, *self._read(cell, read)]
        self._until(plan)
        plan.outputs = self._outputs(plan)
        return plan

    def _tell_undos(self, undos: dict[str, Plan]) -> None:
        """What an undo reads that its step neither takes nor makes is given to it by name, where it exists by then."""
        for plan in self.plans:
            undo = undos.get(plan.undo)
            if undo is None:
                continue
            for name in undo.inputs:
                if name in plan.inputs or name in plan.outputs:
                    continue
                if name in plan.known:
                    plan.given.append(name)
                    if plan.known[name] != "params":
                        self.dependencies.append(Dependency(plan.known[name], plan.name, name))
                    continue
                place = undo.cell.names.reads.get(name) if undo.cell.names else None
                message = f"'{name}' is made after '{plan.name}' began, so it is None when that is undone"
                fix = f"use names that '{plan.name}' takes or makes"
                self.findings.append(undo.cell.at(place, "FB019", message, fix=fix, severity="warning"))

    def _order(self, targets: set[str]) -> None:
        numbers = {plan.name: plan.cell.number for plan in self.plans}
        for plan in self.plans:
            option = plan.cell.annotations.options.get("needs")
            for name in plan.needs:
                if name in targets and option is not None:
                    fix = "name a step of the way forward"
                    message = f"'{name}' is an undo step: it runs only when something fails"
                    self.findings.append(plan.cell.at(option, "FB012", message, fix=fix))
                elif name not in self.by_name and option is not None:
                    self.findings.append(missing.step(plan.cell, option, name, self.by_name))
                elif name == plan.name and option is not None:
                    fix = f"take '{name}' out of the list"
                    self.findings.append(plan.cell.at(option, "FB022", "a step cannot need itself", fix=fix))
                else:
                    self.dependencies.append(Dependency(name, plan.name, "needs"))
        order, circle = ordering.ordered(numbers, self.dependencies)
        if circle:
            self._circle(circle)
            return
        by_name = {plan.name: plan for plan in self.plans}
        self.plans = [by_name[name] for name in order if name in by_name]

    def _circle(self, circle: list[Dependency]) -> None:
        path = " → ".join(f"{link.source} → ({link.why or 'next version'})" for link in circle)
        link = next((link for link in circle if link.why == "needs"), circle[0])
        cell = self.by_name[link.target]
        option = cell.annotations.options.get("needs")
        message = f"these steps wait for each other: {path} → {circle[0].source}"
        self.findings.append(cell.at(option, "FB022", message, fix="take one of the 'needs' away"))

    # What is wrong

    def _unknown(self, cell: PageCell, name: str, option: Option | None = None) -> None:
        names = cell.names
        place = option or (names.reads.get(name) or names.may_read.get(name) if names else None)
        place = place or cell.annotations.options.get("reads")
        known = (*self.latest, *self.shared)
        self.findings.append(missing.name(self.page, cell, name, place, known, self.items))

    def _ambiguous(self, cell: PageCell, name: str, owner: str) -> None:
        first = self.by_name[owner]
        line = first.names.writes[name].line + first.offset if first.names and name in first.names.writes else 1
        place = cell.names.writes.get(name) if cell.names else None
        here = place.line + cell.offset if place else 1
        message = (
            f"'{name}' is defined by two steps: cell {first.number} \"{owner}\" line {line} and "
            f'cell {cell.number} "{cell.step}" line {here}'
        )
        fix = f"rename one, or let '{cell.step}' read '{name}' first"
        self.findings.append(cell.at(place, "FB020", message, fix=fix))

    def _mutations(self, cell: PageCell, inputs: list[str]) -> None:
        for name, place in cell.names.mutates.items() if cell.names else ():
            version = self.latest.get(name)
            if name in inputs and name not in cell.writes() and version is not None and version.owner != "params":
                message = f"this changes '{name}', which belongs to '{version.owner}'; the change stays in this step"
                fix = f"bind it anew, for example '{name} = ...', so that later steps see it"
                self.findings.append(cell.at(place, "FB030", message, severity="warning", fix=fix))


def _all_reads(cell: PageCell) -> list[str]:
    """Every name that the cell or its annotations might take from above."""
    expressions = [options.items(cell), *(cell.annotations.text(key) or "" for key in ("when", "loop.until"))]
    written = [text for text in expressions if text and options.parsed(text) is not None]
    names = [name for text in written for name in expression_names(text)]
    return [*names, *cell.reads(), *(cell.names.may_read if cell.names else ())]
