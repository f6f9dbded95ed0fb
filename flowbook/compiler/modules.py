"""A module's text to what the engine stores of it: workflows, parameters, step digests, and the way back to the cells.

The same for exported and for hand-written modules; graphs are drawn in ``graphs``.
"""

from __future__ import annotations

import ast
import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import zip_longest

import msgspec

import flowbook
from flowbook.compiler.beside import Find, beside, marks
from flowbook.compiler.diagnostics import Diagnostic, Severity, has_errors
from flowbook.compiler.digests import Digests
from flowbook.compiler.graphs import Drawn, StepFacts, Surroundings, WaitFacts, drawn
from flowbook.compiler.names import parsed
from flowbook.compiler.signatures import keywords, parameters, step_options
from flowbook.compiler.unsteady import imports, unsteady
from flowbook.core.ids import CellId, Digest
from flowbook.core.module import Cell, Imported, LineSpan, Module, Workflow

_MEND = "mend the line, then check again"
_WAIT = re.compile(r"^# (waits for signal|sleeps) (\S+)$")
_MARKER = re.compile(r"^# %% cell (\d+)(?: (\w+))? \[id=(.+?)(?: line=(\d+))?\]$")


_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Compiled(msgspec.Struct, frozen=True):
    """A module, or None where the findings have errors. ``schedule`` is the cron expression the notebook asks for."""

    module: Module | None
    diagnostics: tuple[Diagnostic, ...] = ()
    schedule: str = ""


def nothing(name: str) -> Imported | None:
    """Nothing lies beside."""


def compile_module(text: str, name: str, origin: str = "", folder: str = "", find: Find = nothing) -> Compiled:
    """Analyse a module.

    ``name`` is what it is called, ``folder`` where its own imports lie; ``find`` gives those that are kept with it.
    """
    try:
        tree = parsed(text)
    except (SyntaxError, ValueError) as error:
        line, column = getattr(error, "lineno", 1) or 1, getattr(error, "offset", 1) or 1
        message = f"this is not Python: {getattr(error, 'msg', error)}"
        return Compiled(
            None, (Diagnostic("FB006", message, line=line, column=column, end_column=column + 1, fix=_MEND),)
        )
    pinned = beside(text, find)
    known = marks(pinned)
    reader = _Reader(tree, text, known)
    workflows, findings = reader.workflows(), reader.findings()
    if not workflows and not findings:
        fix = "decorate an async function with @workflow (from flowbook import workflow)"
        findings = [Diagnostic("FB014", "this module defines no workflow", fix=fix)]
    if has_errors(findings):
        return Compiled(None, tuple(findings))
    others = [(imported, _reader(imported, known)) for imported in _readable(pinned)]
    kept = "".join(f"\0{imported.name}\0{imported.source}" for imported in pinned)
    digest = Digest(hashlib.blake2b(f"{name}\n{text}{kept}".encode(), digest_size=16).hexdigest())
    module = Module(
        digest=digest,
        name=name,
        source=text,
        workflows=(*workflows, *(w for imported, other in others for w in other.workflows(imported.name))),
        steps={name: mark for _, other in others for name, mark in other.digests().items()} | reader.digests(),
        spans=tuple(reader.spans()),
        cells=tuple(reader.cells()),
        origin=origin,
        folder=folder,
        imports=pinned,
    )
    return Compiled(module, tuple(findings))


def _reader(imported: Imported, known: Mapping[str, str]) -> _Reader:
    package = imported.name if imported.package else imported.name.rpartition(".")[0]
    return _Reader(parsed(imported.source), imported.source, known, package)


def _readable(imports: tuple[Imported, ...]) -> list[Imported]:
    """Those that are Python: the others say so when they are imported."""
    found = []
    for imported in imports:
        with suppress(SyntaxError, ValueError):
            parsed(imported.source)
            found.append(imported)
    return found


class _Marker(msgspec.Struct, frozen=True):
    line: int
    number: int
    step: str
    cell: CellId
    cell_line: int


class _Reader:
    def __init__(self, tree: ast.Module, text: str, beside: Mapping[str, str], package: str = "") -> None:
        self.tree = tree
        self._beside = beside
        self._package = package
        self.lines = text.split("\n")
        self.ours = _names_of_ours(tree)
        self.markers = [
            _Marker(line, int(found[1]), found[2] or "", CellId(found[3]), int(found[4] or 1))
            for line, row in enumerate(self.lines, 1)
            if (found := _MARKER.match(row))
        ]
        self.functions = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        self.wrapped = self._wrapped()
        self.steps = {node.name: node for node in self.functions if self._decorated(node, "step") is not None}
        self.steps |= {made: node for (made, kind), (node, _) in self.wrapped.items() if kind == "step"}

    def _decorated(self, node: _Function, name: str) -> ast.expr | None:
        """The decorator ``@name``, ``@name(...)`` or ``@flowbook.name``, or None."""
        for decorator in node.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(called, ast.Attribute) and called.attr == name:
                return decorator
            if isinstance(called, ast.Name) and self.ours.get(called.id) == name:
                return decorator
        return next((call for (_, kind), (of, call) in self.wrapped.items() if of is node and kind == name), None)

    def _wrapped(self) -> dict[tuple[str, str], tuple[_Function, ast.expr]]:
        """``name = step(function)`` and ``name = step(retry=...)(function)``, the same for workflows."""
        by_name = {node.name: node for node in self.functions}
        found: dict[tuple[str, str], tuple[_Function, ast.expr]] = {}
        for statement in self.tree.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=made)], value=ast.Call(func=func, args=[ast.Name(id=name)])):
                    called = func.func if isinstance(func, ast.Call) else func
                    kind = (
                        called.attr if isinstance(called, ast.Attribute) else self.ours.get(getattr(called, "id", ""))
                    )
                    if name in by_name and kind in ("step", "workflow"):
                        found[made, kind] = (by_name[name], func if isinstance(func, ast.Call) else statement.value)
                case _:
                    pass
        return found

    # What is wrong

    def findings(self) -> list[Diagnostic]:
        """Workflows that cannot run, and names that stand for two things."""
        found = []
        for node in self.functions:
            if isinstance(node, ast.FunctionDef) and self._decorated(node, "workflow") is not None:
                message, fix = f"workflow '{node.name}' is not async", f"write 'async def {node.name}(...)'"
                found.append(_at(node, "FB014", message, fix))
        for what, named in (
            ("steps", [(self._step_name(node), node) for node in self.steps.values()]),
            ("workflows", [(self._workflow_name(node), node) for node in self._workflows]),
        ):
            seen: dict[str, int] = {}
            for name, node in named:
                first = seen.setdefault(name, node.lineno)
                if first != node.lineno:
                    message = f"two {what} are called '{name}': in line {first} and in line {node.lineno}"
                    found.append(_at(node, "FB007", message, "give one of them another name"))
        return [*found, *self._unsteady()]

    def _unsteady(self) -> list[Diagnostic]:
        """Calls in workflow code that would give something else each time it is re-executed.

        Of helpers that steps use as well it is not known for whom they call it: that is a warning.
        """
        names = imports(self.tree)
        of_steps = self._reached(self.steps.values())
        found = []
        for function in self._reached(self._workflows):
            severity: Severity = "warning" if function in of_steps else "error"
            for each in unsteady(_without_steps(function, self.steps), names):
                message = f"{each.name} gives something else each time the run is re-executed"
                call = each.call
                found.append(
                    Diagnostic(
                        "FB041",
                        message,
                        severity=severity,
                        line=call.lineno,
                        column=call.col_offset + 1,
                        end_column=(call.end_col_offset or call.col_offset) + 1,
                        fix=f"{each.instead}, or call it in a step",
                    )
                )
        return found

    def _reached(self, starts: Iterable[_Function]) -> list[_Function]:
        """These functions and those of the module that they use, directly or not; steps are reached by no one else."""
        helpers = {node.name: node for node in self.functions if node not in self.steps.values()}
        found: dict[str, _Function] = {}
        pending = list(starts)
        while pending:
            node = pending.pop()
            if node.name not in found:
                found[node.name] = node
                used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                pending += [helpers[name] for name in sorted(used & helpers.keys())]
        return list(found.values())

    # Facts about steps

    def _marker_of(self, line: int) -> _Marker | None:
        index = bisect_right(self.markers, line, key=lambda marker: marker.line)
        return self.markers[index - 1] if index else None

    def _step_name(self, node: _Function) -> str:
        named = keywords(self._decorated(node, "step")).get("name")
        return str(named.value) if isinstance(named, ast.Constant) else node.name

    @cached_property
    def facts(self) -> dict[str, StepFacts]:
        """What the graph needs to know of each step, by its function's name."""
        found = {}
        for function, node in self.steps.items():
            marker = self._marker_of(node.lineno)
            decorator = self._decorated(node, "step")
            outputs = keywords(decorator).get("outputs")
            found[function] = StepFacts(
                name=self._step_name(node),
                line=self._body_start(node),
                cell=marker.cell if marker else "",
                number=marker.number if marker else 0,
                parameters=[a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)],
                outputs=[str(e.value) for e in getattr(outputs, "elts", []) if isinstance(e, ast.Constant)],
                options=step_options(decorator),
                doc=" ".join((ast.get_docstring(node) or "").split()),
            )
        return found

    def waits(self) -> list[WaitFacts]:
        """Cells that only wait: a marker with a comment that says for what."""
        found = []
        for marker in self.markers:
            said = _WAIT.match(self.lines[marker.line]) if marker.line < len(self.lines) else None
            if said is not None:
                what = "signal" if said[1] != "sleeps" else "sleep"
                found.append(WaitFacts(what, said[2], marker.step, marker.cell, marker.number))
        return found

    # Workflows

    def _workflow_name(self, node: _Function) -> str:
        named = keywords(self._decorated(node, "workflow")).get("name")
        return str(named.value) if isinstance(named, ast.Constant) else node.name

    @cached_property
    def _workflows(self) -> list[ast.AsyncFunctionDef]:
        coroutines = [node for node in self.functions if isinstance(node, ast.AsyncFunctionDef)]
        return [node for node in coroutines if self._decorated(node, "workflow") is not None]

    @cached_property
    def _drawings(self) -> dict[str, Drawn]:
        return {node.name: self._drawn(node) for node in self._workflows}

    def workflows(self, beside: str = "") -> list[Workflow]:
        """Every workflow of the module, with its graph."""
        found = []
        for node in self._workflows:
            found.append(
                Workflow(
                    name=self._workflow_name(node),
                    graph=self._drawings[node.name].graph,
                    parameters=tuple(parameters(node)),
                    doc=ast.get_docstring(node) or "",
                    beside=beside,
                )
            )
        return found

    def _drawn(self, node: ast.AsyncFunctionDef) -> Drawn:
        marker = next((m for m in self.markers if m.step == "params" and m.line < node.lineno), None)
        params = (marker.cell, marker.number) if marker else ("", 0)
        names = [str(parameter["name"]) for parameter in parameters(node)]
        return drawn(node, Surroundings(self.facts, names, params, self.waits(), self.ours))

    # Digests

    def digests(self) -> dict[str, Digest]:
        """For each step, the digest of its code and of the module-level code it uses, directly or not."""
        digests = Digests(self.tree, self._beside, self._package)
        return {self._step_name(node): digests.of(node) for node in self.steps.values()}

    # The way back

    def cells(self) -> list[Cell]:
        """The cells named by markers, with the code that came from them."""
        bodies: dict[CellId, list[str]] = {}
        for span in self._body_spans:
            rows = self.lines[span.line - 1 : span.line - 1 + span.count]
            bodies.setdefault(span.cell, []).extend(rows)
        seen: dict[CellId, Cell] = {}
        for marker in self.markers:
            source = _dedented(bodies.get(marker.cell, [])) if marker.step else "\n".join(bodies.get(marker.cell, []))
            step = "" if marker.step == "params" else marker.step
            seen.setdefault(marker.cell, Cell(marker.cell, marker.number, source, step))
        return sorted(seen.values(), key=lambda cell: cell.number)

    def spans(self) -> list[LineSpan]:
        """Which module lines are which lines of which cell."""
        return self._body_spans + self._call_spans()

    @cached_property
    def _body_spans(self) -> list[LineSpan]:
        found = []
        generated = sorted({node.lineno: node for node in (*self.steps.values(), *self._workflows)}.items())
        lines = [line for line, _ in generated]
        for marker, following in zip_longest(self.markers, self.markers[1:]):
            end = following.line - 1 if following is not None else len(self.lines)
            if marker.step == "params":
                continue
            index = bisect_right(lines, marker.line)
            if not marker.step:
                end = min(end, lines[index] - 1) if index < len(lines) else end
                while end > marker.line and not self.lines[end - 1].strip():
                    end -= 1
                found.append(LineSpan(marker.line + 1, end - marker.line, marker.cell, marker.cell_line))
                continue
            node = generated[index][1] if index < len(lines) and lines[index] <= end else None
            if node is not None and self._decorated(node, "step") is not None:
                first, last = self._body_start(node), self._body_end(node)
                found.append(LineSpan(first, last - first + 1, marker.cell, marker.cell_line))
        return [span for span in found if span.count > 0]

    def _call_spans(self) -> list[LineSpan]:
        """A line of a generated workflow that starts a step, or only waits, belongs to its cell."""
        calls = [call for drawing in self._drawings.values() for call in drawing.calls.items()]
        return [LineSpan(line, 1, CellId(cell), 1) for line, cell in calls if cell]

    def _body_start(self, node: _Function) -> int:
        """The line after the signature and the docstring."""
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            return (first.end_lineno or first.lineno) + 1
        line = node.lineno
        while line < first.lineno and not self.lines[line - 1].rstrip().endswith(":"):
            line += 1
        return min(line + 1, first.lineno) if line < first.lineno else first.lineno

    def _body_end(self, node: _Function) -> int:
        """The last line of the cell: before the ``return``, or with the comments that follow the last statement."""
        last = node.body[-1]
        if isinstance(last, ast.Return):
            return last.lineno - 1
        end = last.end_lineno or last.lineno
        while end < len(self.lines) and self.lines[end].startswith((" ", "\t")):
            end += 1
        return end


def _without_steps(function: _Function, steps: Mapping[str, _Function]) -> list[ast.stmt]:
    """The body of a function, without steps that are defined in it."""
    names = {node.name for node in steps.values()}
    return [statement for statement in function.body if getattr(statement, "name", "") not in names]


def _at(node: _Function, code: str, message: str, fix: str) -> Diagnostic:
    column = node.col_offset + 1
    return Diagnostic(code, message, line=node.lineno, column=column, end_column=column + len("def"), fix=fix)


def _dedented(rows: list[str]) -> str:
    return "\n".join(row.removeprefix("    ") for row in rows)


def _names_of_ours(tree: ast.Module) -> dict[str, str]:
    """What the module calls Flowbook's names: its imports from us, less what it binds again."""
    found: dict[str, str] = {}
    for statement in tree.body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            ours = isinstance(statement, ast.ImportFrom) and (statement.module or "").partition(".")[0] == "flowbook"
            for alias in statement.names:
                found.pop(alias.asname or alias.name, None)
                if ours and alias.name == "*":
                    found |= {name: name for name in flowbook.__all__}
                elif ours:
                    found[alias.asname or alias.name] = alias.name
    return found
