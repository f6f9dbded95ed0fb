"""Names to dependencies, in page order: which version of a name each step takes, and what is wrong with that.

A reader takes the nearest definition above it. Pure; gives findings, never raises.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable

import msgspec
import networkx

from flowbook.compiler.annotations import Option
from flowbook.compiler.cells import Page, PageCell, is_literal
from flowbook.compiler.diagnostics import Diagnostic
from flowbook.compiler.names import expression_names, place_of
from flowbook.core.duration import seconds
from flowbook.errors import UserError


class Plan(msgspec.Struct):
    """A step of the workflow with its names resolved.

    ``inputs`` are the parameters of its function, in order; ``condition`` and ``until`` the names those expressions
    read; ``previous`` the written names that had a definition before, for where the step is skipped.
    """

    cell: PageCell
    inputs: list[str]
    outputs: list[str]
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

    @property
    def name(self) -> str:
        """The step's name."""
        return self.cell.step

    @property
    def has_function(self) -> bool:
        """False where the cell only waits."""
        return not self.empty or not (self.signal or self.pause)


class Flow(msgspec.Struct):
    """The whole page resolved: parameters, steps in order, undo steps, and what nobody reads."""

    params: PageCell | None
    parameters: list[tuple[str, str, str]]
    steps: list[Plan]
    undos: dict[str, Plan]
    results: list[str]
    diagnostics: list[Diagnostic]


def flow(page: Page) -> Flow:
    """Resolve the names of a page."""
    return _Resolver(page).resolve()


class _Resolver:
    def __init__(self, page: Page) -> None:
        self.page = page
        self.findings: list[Diagnostic] = list(page.diagnostics)
        self.steps = [cell for cell in page.cells if cell.part == "step" and cell.names is not None]
        self.by_name = {cell.step: cell for cell in self.steps}
        self.shared = {name for cell in page.cells if cell.part == "shared" and cell.names for name in cell.writes()}
        self.latest: dict[str, str] = {}
        self.read_since: dict[str, list[str]] = {}
        self.used: set[str] = set()
        self.plans: list[Plan] = []

    def resolve(self) -> Flow:
        params = next((cell for cell in self.page.cells if cell.part == "params"), None)
        parameters = self._parameters(params) if params else []
        for name, _, _ in parameters:
            self.latest[name] = "params"
        targets = self._undo_targets()
        for cell in self.steps:
            if cell.step not in targets:
                self.plans.append(self._plan(cell))
        undos = {cell.step: self._undo_plan(cell) for cell in self.steps if cell.step in targets}
        self._check_needs()
        self._check_shared()
        if not self.steps and not any(found.severity == "error" for found in self.findings):
            self.findings.append(
                Diagnostic("FB008", "this notebook has no step", fix="write '#| step' at the top of a cell")
            )
        results = [name for name, owner in self.latest.items() if owner != "params" and name not in self.used]
        return Flow(params, parameters, self.plans, undos, results, self.findings)

    # Parameters

    def _parameters(self, cell: PageCell) -> list[tuple[str, str, str]]:
        found = []
        for statement in cell.names.tree.body if cell.names else []:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
            value = getattr(statement, "value", None)
            if isinstance(target, ast.Name) and value is not None and is_literal(value):
                annotation = ast.unparse(statement.annotation) if isinstance(statement, ast.AnnAssign) else ""
                found.append((target.id, annotation or _kind(value), _text(value)))
                continue
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue
            fix = "write 'name = value' with a plain value, and compute from it in a step"
            message = "a params cell has only assignments of plain values, so that each can be given from outside"
            self.findings.append(cell.at(place_of(statement), "FB009", message, fix=fix))
        return found

    # Steps

    def _plan(self, cell: PageCell) -> Plan:
        head = cell.annotations
        plan = Plan(cell, [], [], needs=head.names("needs"), undo=(head.text("undo") or "").strip())
        plan.empty = not cell.names or not cell.names.tree.body
        self._read_wait(plan)
        self._read_map(plan)
        self._check_numbers(cell)
        writes = cell.writes()
        plan.binds_signal = bool(plan.signal) and plan.signal in writes
        reads = self._inputs(plan, cell.reads(), writes)
        plan.condition = self._expression(cell, "when", [])
        if "loop" in head.options or "loop.until" in head.options:
            self._check_until(cell, [*reads, *writes])
        plan.inputs = reads
        plan.outputs = writes if not plan.empty else [plan.signal] if plan.signal else []
        for name in [*reads, *plan.condition, *([plan.items] if plan.items else [])]:
            if name not in (plan.item, plan.signal) or name in plan.condition:
                self.used.add(name)
                self.read_since.setdefault(name, []).append(cell.step)
        self._mutations(cell, reads)
        self._bind(plan)
        return plan

    def _inputs(self, plan: Plan, reads: list[str], writes: list[str]) -> list[str]:
        """The names among ``reads`` that come from other steps; the map item or signal first."""
        cell, first = plan.cell, plan.item or ("" if plan.binds_signal else plan.signal)
        found = [first] if first else []
        for name in reads:
            if name == first or name in self.shared:
                continue
            if name in self.latest:
                found.append(name)
            elif name != plan.signal or not plan.binds_signal:
                self._unknown(cell, name)
        if plan.items and plan.items not in self.latest:
            self._unknown(cell, plan.items, cell.annotations.options.get("map"))
        return found

    def _bind(self, plan: Plan) -> None:
        cell = plan.cell
        for name in plan.outputs:
            owner = self.latest.get(name)
            if owner and owner != "params" and name not in plan.inputs:
                between = [step for step in self.read_since.get(name, []) if step != cell.step]
                skipped = "when" in cell.annotations.options
                if between and not skipped and self.by_name[owner].number != cell.number:
                    self._ambiguous(cell, name, owner)
            if owner:
                plan.previous.append(name)
                if "when" in cell.annotations.options:
                    self.used.add(name)
            self.used.discard(name)
            self.read_since[name] = []
            self.latest[name] = cell.step

    def _ambiguous(self, cell: PageCell, name: str, owner: str) -> None:
        first = self.by_name[owner]
        line = first.names.writes[name].line + first.offset if first.names and name in first.names.writes else 1
        place = cell.names.writes.get(name) if cell.names else None
        here = place.line + cell.offset if place else 1
        message = (
            f"'{name}' is defined by two steps: cell {first.number} \"{owner}\" line {line} and "
            f'cell {cell.number} "{cell.step}" line {here}'
        )
        self.findings.append(
            cell.at(place, "FB020", message, fix=f"rename one, or let '{cell.step}' read '{name}' first")
        )

    def _unknown(self, cell: PageCell, name: str, option: Option | None = None) -> None:
        place = option or (cell.names.reads.get(name) if cell.names else None)
        scratch = next((c for c in self.page.cells if c.part == "scratch" and c.names and name in c.writes()), None)
        below = next((c for c in self.steps if name in c.writes() and c.number > cell.number), None)
        if below is not None:
            message = f"'{name}' is defined below, in cell {below.number} \"{below.step}\""
            self.findings.append(cell.at(place, "FB021", message, fix=f"move cell {below.number} above this one"))
            return
        message = f"'{name}' is read here, but no step above defines it"
        fix = "define it in a step above, or in the params cell"
        if scratch is not None:
            fix = f"add '#| step' to cell {scratch.number}, which defines it (or '#| shared', if it is a constant)"
        else:
            near = difflib.get_close_matches(name, [*self.latest, *self.shared], 1, 0.75)
            if near:
                message += f"; did you mean '{near[0]}'?"
                fix = f"write '{near[0]}'"
        self.findings.append(cell.at(place, "FB010", message, fix=fix))

    def _mutations(self, cell: PageCell, reads: list[str]) -> None:
        for name, place in cell.names.mutates.items() if cell.names else ():
            if name in reads and name not in cell.writes() and self.latest.get(name) not in (None, cell.step):
                owner = self.latest[name]
                message = f"this changes '{name}', which belongs to '{owner}'; the change stays in this step"
                fix = f"bind it anew, for example '{name} = ...', so that later steps see it"
                self.findings.append(cell.at(place, "FB030", message, severity="warning", fix=fix))

    # Annotations with a language of their own

    def _read_wait(self, plan: Plan) -> None:
        option = plan.cell.annotations.options.get("wait")
        if option is None:
            return
        text = option.text.strip()
        if text[:1].isdigit():
            plan.pause = text
            self._duration(plan.cell, "wait")
            return
        name = text.removeprefix("signal ").strip()
        if not name.isidentifier():
            fix = "write a signal's name ('#| wait: approval') or a duration ('#| wait: 2h')"
            self.findings.append(plan.cell.at(option, "FB011", f"'{text}' is neither a name nor a duration", fix=fix))
        plan.signal = name

    def _read_map(self, plan: Plan) -> None:
        option = plan.cell.annotations.options.get("map")
        if option is None:
            return
        items, _, item = (part.strip() for part in option.text.partition(" as "))
        if not items.isidentifier() or not item.isidentifier():
            fix = "write '#| map: orders as order'"
            self.findings.append(plan.cell.at(option, "FB011", f"'{option.text}' does not say what to map", fix=fix))
            return
        plan.items, plan.item = items, item

    def _expression(self, cell: PageCell, key: str, own: Iterable[str]) -> list[str]:
        option = cell.annotations.options.get(key)
        if option is None:
            return []
        try:
            found = expression_names(option.text)
        except SyntaxError as error:
            message = f"'{option.text}' is not an expression: {error.msg}"
            self.findings.append(cell.at(option, "FB011", message, fix="write Python, for example 'total > 100'"))
            return []
        known = []
        for name in found:
            if name in own or name in self.latest:
                known.append(name)
            elif name not in self.shared:
                self._unknown(cell, name, option)
        return known

    def _check_until(self, cell: PageCell, own: list[str]) -> None:
        if "loop.until" not in cell.annotations.options:
            option = cell.annotations.options.get("loop")
            fix = "write '#|   until: done' below '#| loop:'"
            self.findings.append(cell.at(option, "FB011", "a loop needs to know when it is done", fix=fix))
            return
        option = cell.annotations.options["loop.until"]
        try:
            unknown = [n for n in expression_names(option.text) if n not in own and n not in self.shared]
        except SyntaxError as error:
            message = f"'{option.text}' is not an expression: {error.msg}"
            self.findings.append(
                cell.at(option, "FB011", message, fix="write Python, for example 'state == \"ready\"'")
            )
            return
        for name in unknown:
            message = f"'{name}' is neither written nor read by this cell, so it can never become true"
            self.findings.append(cell.at(option, "FB011", message, fix="use a name that the cell assigns"))

    def _check_numbers(self, cell: PageCell) -> None:
        for key in ("timeout", "loop.every", "loop.timeout"):
            self._duration(cell, key)
        for key in ("retries", "concurrency", "loop.max"):
            option = cell.annotations.options.get(key)
            if option is not None and not option.text.isdigit():
                name = key.rpartition(".")[2]
                self.findings.append(
                    cell.at(option, "FB011", f"'{option.text}' is not a number", fix=f"'#| {name}: 5'")
                )
        option = cell.annotations.options.get("backoff")
        if option is not None and backoff(option.text) is None:
            message = f"'{option.text}' is not a back-off"
            self.findings.append(cell.at(option, "FB011", message, fix="write '2s', '1s..30s' or '1s..30s x2'"))

    def _duration(self, cell: PageCell, key: str) -> None:
        option = cell.annotations.options.get(key)
        if option is None:
            return
        try:
            seconds(option.text)
        except UserError as error:
            self.findings.append(cell.at(option, "FB011", str(error)))

    # Undo and order

    def _undo_targets(self) -> set[str]:
        targets = set()
        for cell in self.steps:
            option = cell.annotations.options.get("undo")
            if option is None:
                continue
            if option.text not in self.by_name or option.text == cell.step:
                self._no_such_step(cell, option, option.text)
            else:
                targets.add(option.text)
        return targets

    def _no_such_step(self, cell: PageCell, option: Option, name: str) -> None:
        near = difflib.get_close_matches(name, [step for step in self.by_name if step != cell.step], 1, 0.6)
        fix = f"did you mean '{near[0]}'?" if near else f"write '#| step: {name}' on the cell that is meant"
        self.findings.append(cell.at(option, "FB012", f"there is no other step called '{name}'", fix=fix))

    def _undo_plan(self, cell: PageCell) -> Plan:
        plan = Plan(cell, [name for name in cell.reads() if name not in self.shared], cell.writes())
        self._check_numbers(cell)
        if any(key.startswith("loop") for key in cell.annotations.options):
            self._check_until(cell, [*plan.inputs, *plan.outputs])
        for name in plan.inputs:
            if name not in self.latest:
                self._unknown(cell, name)
        return plan

    def _check_needs(self) -> None:
        order = networkx.DiGraph()
        owners: dict[str, str] = {}
        for plan in self.plans:
            for name in plan.inputs:
                if name in owners:
                    order.add_edge(owners[name], plan.name, name=name)
            for name in plan.needs:
                if name not in self.by_name:
                    self._no_such_step(plan.cell, plan.cell.annotations.options["needs"], name)
                order.add_edge(name, plan.name, name="needs")
            owners.update(dict.fromkeys(plan.outputs, plan.name))
        try:
            circle = networkx.find_cycle(order)
        except networkx.NetworkXNoCycle:
            self._needs_below()
            return
        path = " → ".join(f"{source} ({order.edges[source, target]['name']})" for source, target in circle)
        last = self.by_name[circle[0][0]]
        message = f"these steps wait for each other: {path} → {circle[0][0]}"
        option = last.annotations.options.get("needs")
        self.findings.append(last.at(option, "FB022", message, fix="take one of the 'needs' away"))

    def _needs_below(self) -> None:
        """Order the steps so that what is needed comes first; page order otherwise."""
        ordered: list[Plan] = []
        waiting = list(self.plans)
        while waiting:
            open_names = {plan.name for plan in waiting}
            plan = next((p for p in waiting if not open_names & {*p.needs}), waiting[0])
            waiting.remove(plan)
            ordered.append(plan)
        self.plans = ordered

    def _check_shared(self) -> None:
        written = {name: cell for cell in self.steps for name in cell.writes()}
        for cell in self.page.cells:
            if cell.part != "shared" or cell.names is None:
                continue
            for name, place in cell.names.reads.items():
                if name in written and name not in self.shared:
                    owner = written[name]
                    message = f"shared code reads '{name}', which step '{owner.step}' (cell {owner.number}) makes"
                    self.findings.append(cell.at(place, "FB013", message, fix=f"give '{name}' to the function"))


def backoff(text: str) -> tuple[str, str, str] | None:
    """First interval, longest, factor of ``1s..30s x2``; "" where it does not say."""
    words = text.split()
    factor = words[1].removeprefix("x") if len(words) == 2 and words[1].startswith("x") else ""
    first, _, longest = (words[0] if words else "").partition("..")
    try:
        seconds(first)
        seconds(longest or first)
        float(factor or 2)
    except (UserError, ValueError):
        return None
    return None if len(words) > 1 and not factor else (first, longest, factor)


def _text(value: ast.expr) -> str:
    text = ast.unparse(value)
    plain = isinstance(value, ast.Constant) and isinstance(value.value, str) and '"' not in text and "\\" not in text
    return f'"{text[1:-1]}"' if plain else text


def _kind(value: ast.expr) -> str:
    """A parameter without an annotation has the type of its default."""
    kind = type(ast.literal_eval(value)).__name__
    return kind if kind in ("int", "float", "str", "bool") else ""
