"""A workflow function to its step graph. Exact for the generated style; for hand-written code, what can be seen.

A step is one node however often it is called. Edges carry the variables that lead from one step to another.
"""

from __future__ import annotations

import ast
from typing import Any

import msgspec

from flowbook.compiler import chains
from flowbook.core.graph import Edge, EdgeKind, Graph, Node, NodeKind


class StepFacts(msgspec.Struct, frozen=True):
    """What is known of a step's function: its name, place, parameters, outputs and decorator's options."""

    name: str
    line: int = 0
    cell: str = ""
    number: int = 0
    parameters: list[str] = []
    outputs: list[str] = []
    options: dict[str, Any] = {}
    doc: str = ""


class WaitFacts(msgspec.Struct, frozen=True):
    """A cell that only waits: for ``what`` ("signal" or "sleep"), with its first argument, and the step's name."""

    what: str
    text: str
    step: str
    cell: str
    number: int


class Surroundings(msgspec.Struct, frozen=True):
    """What a workflow function is read with.

    Steps by function name, its parameters and their cell, waiting cells, and what the module calls Flowbook's names.
    """

    steps: dict[str, StepFacts]
    parameters: list[str]
    params: tuple[str, int]
    waits: list[WaitFacts]
    ours: dict[str, str]


class Drawn(msgspec.Struct, frozen=True):
    """A graph, and which cell each line of the workflow that starts a step belongs to."""

    graph: Graph
    calls: dict[int, str]


def drawn(workflow: ast.AsyncFunctionDef, surroundings: Surroundings) -> Drawn:
    """The graph of ``workflow``."""
    drawing = _Drawing(surroundings)
    for statement in workflow.body:
        drawing.statement(statement)
    return Drawn(drawing.finished(), drawing.calls)


class _Drawing:
    def __init__(self, around: Surroundings) -> None:
        self.steps = around.steps
        self.ours = around.ours
        self.waits = list(around.waits)
        self.calls: dict[int, str] = {}
        self.nodes: dict[str, Node] = {}
        self.edges: dict[tuple[str, str, EdgeKind], list[str]] = {}
        self.made_by: dict[str, tuple[str, ...]] = {}
        self.conditions: list[set[str]] = []
        self.last = ""
        self.waited = ""
        if around.parameters:
            writes = tuple(around.parameters)
            cell, number = around.params
            self.nodes["params"] = Node("params", "params", cell=cell, cell_number=number, writes=writes)
            self.made_by = dict.fromkeys(around.parameters, ("params",))

    def finished(self) -> Graph:
        """Nodes in page order, then as they appear; edges likewise."""
        edges = [Edge(s, t, tuple(names), kind) for (s, t, kind), names in self.edges.items()]
        nodes = list(self.nodes.values())
        if all(node.cell_number for node in nodes):
            nodes.sort(key=lambda node: node.cell_number)
        return Graph(tuple(nodes), tuple(edges))

    # Statements

    def statement(self, statement: ast.stmt) -> None:
        """Follow one statement of the workflow."""
        match statement:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=value) if chains.gathered(value, len(targets)):
                for target, part in zip(targets, chains.gathered(value, len(targets)), strict=True):
                    self._assigned(chains.stored(target), part)
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name))], value=value):
                self._collected(name, value, self._expression(value, ()))
            case ast.Assign(targets=targets, value=value):
                self._assigned(chains.stored(targets[0]), value)
                for alias in (name for target in targets[1:] for name in chains.stored(target)):
                    self.made_by[alias] = next((self.made_by.get(n, ()) for n in chains.stored(targets[0])), ())
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assigned(chains.stored(target), value)
            case ast.AugAssign(target=target, value=value):
                self._assigned(chains.stored(target), value, also=chains.stored(target))
            case ast.If(test=test) | ast.While(test=test):
                self._within(chains.loaded(test), [*statement.body, *statement.orelse], test)
            case ast.For(target=target, iter=items) | ast.AsyncFor(target=target, iter=items):
                self._assigned(chains.stored(target), items)
                self._within(chains.loaded(items), [*statement.body, *statement.orelse], None)
            case ast.With(items=items) | ast.AsyncWith(items=items):
                for item in items:
                    self._expression(item.context_expr, ())
                self._block(statement.body)
            case ast.Match(subject=subject, cases=cases):
                self._within(chains.loaded(subject), [inner for case in cases for inner in case.body], subject)
            case ast.Try() | ast.TryStar():
                self._block([*statement.body, *statement.orelse])
                for handler in statement.handlers:
                    self._block(handler.body)
                self._block(statement.finalbody)
            case ast.FunctionDef(body=body) | ast.AsyncFunctionDef(body=body):
                self._block(body)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name))) as call):
                self._collected(name, call, self._expression(call, ()))
            case ast.Expr(value=value) | ast.Return(value=ast.expr() as value):
                self._expression(value, ())
            case _:
                pass

    def _block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self.statement(statement)

    def _within(self, names: set[str], statements: list[ast.stmt], test: ast.expr | None) -> None:
        if test is not None:
            self._expression(test, ())
        self.conditions.append(names)
        self._block(statements)
        self.conditions.pop()

    def _assigned(self, targets: list[str], value: ast.expr, also: list[str] | None = None) -> None:
        made = self._expression(value, tuple(targets))
        if made:
            kept = [name for call in chains.calls(value, "otherwise") for name in chains.names(call.args)]
            made = tuple(dict.fromkeys([*made, *(node for name in kept for node in self.made_by.get(name, ()))]))
        else:
            read = [*sorted(chains.loaded(value)), *(also or [])]
            made = tuple(dict.fromkeys(node for name in read for node in self.made_by.get(name, ())))
        for name in targets:
            if made:
                self.made_by[name] = made
            else:
                self.made_by.pop(name, None)

    def _collected(self, name: str, value: ast.expr, made: tuple[str, ...]) -> None:
        """``name.append(value)`` and ``name[key] = value``: what the value came from is in ``name`` from here on."""
        if name in self.steps or name in self.ours:
            return
        makers = (maker for part in sorted(chains.loaded(value)) for maker in self.made_by.get(part, ()))
        self.made_by[name] = tuple(dict.fromkeys([*self.made_by.get(name, ()), *made, *makers]))

    # Expressions

    def _expression(self, value: ast.expr, targets: tuple[str, ...]) -> tuple[str, ...]:
        """Draw the steps that an expression calls; gives their nodes."""
        made: list[str] = []
        inner = value.value if isinstance(value, ast.Await) else value
        single = self._call(inner, targets)
        if single is not None:
            return (single,)
        mapped = self._comprehended(value)
        called = {id(part) for c in ast.walk(value) if isinstance(c, ast.Call) for part in ast.walk(c.func)}
        for node in ast.walk(value):
            drawn = None
            if isinstance(node, ast.Call) and node is not inner:
                drawn = self._call(node, ())
                if drawn is not None and id(node) in mapped and self.nodes[drawn].kind == "step":
                    self.nodes[drawn] = msgspec.structs.replace(self.nodes[drawn], kind="map")
            elif isinstance(node, ast.Name) and node.id in self.steps and id(node) not in called:
                drawn = self._step_node(self.steps[node.id], "step", (), (), {})
            if drawn is not None and drawn not in made:
                made.append(drawn)
        return tuple(made)

    def _comprehended(self, value: ast.expr) -> set[int]:
        """Give the variables of comprehensions their makers; the calls that run once for each item."""
        found: set[int] = set()
        for node in ast.walk(value):
            for part in getattr(node, "generators", []):
                makers = (maker for name in sorted(chains.loaded(part.iter)) for maker in self.made_by.get(name, ()))
                self.made_by.update(dict.fromkeys(chains.stored(part.target), tuple(dict.fromkeys(makers))))
            if isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp)):
                found |= {id(inner) for inner in ast.walk(node.elt) if isinstance(inner, ast.Call)}
        return found

    def _call(self, call: ast.expr, targets: tuple[str, ...]) -> str | None:
        """Draw ``step(...)``, ``step.when(...).start(...)``, ``signal(...)`` or ``sleep(...)``."""
        if not isinstance(call, ast.Call):
            return None
        root, links = chains.chain(call)
        if isinstance(root, ast.Name) and root.id in self.steps:
            return self._step_call(self.steps[root.id], links, targets)
        name = root.id if isinstance(root, ast.Name) else ""
        ours = self.ours.get(name, "")
        if ours in ("signal", "sleep"):
            return self._wait_call(ours, call, targets)
        if isinstance(root, ast.Name) and root.id == "asyncio" and [method for method, _ in links] == ["sleep"]:
            return self._wait_call("sleep", call, targets)
        return None

    def _step_call(self, facts: StepFacts, links: list[tuple[str, ast.Call]], targets: tuple[str, ...]) -> str:
        kind: NodeKind = "step"
        options = dict(facts.options)
        reads: list[str] = []
        order: list[str] = []
        undo: tuple[StepFacts, ast.Call, list[tuple[str, ast.Call]]] | None = None
        for method, call in links:
            match method:
                case "when":
                    options["when"] = chains.lambda_text(call)
                    reads += chains.names(call.args[1:])
                case "after":
                    order += chains.names(call.args)
                case "until":
                    kind = "loop"
                    options["loop"] = {"until": chains.lambda_text(call), **chains.constants(call)}
                case "delay":
                    kind, options["wait"] = "wait", chains.first(call)
                case "on_signal" | "unless_signal":
                    kind, options["wait"] = "wait", chains.first(call)
                    options |= chains.constants(call)
                case "undo":
                    root, inner = chains.chain(call.args[0])
                    if isinstance(root, ast.Name) and root.id in self.steps:
                        undo = (self.steps[root.id], call, inner)
                        options["undo"] = undo[0].name
                case "map":
                    kind = "map"
                    item = facts.parameters[0] if facts.parameters else "item"
                    options["map"] = f"{ast.unparse(call.args[0])} as {item}" if call.args else item
                    options |= chains.constants(call)
                    reads += chains.names([*call.args, *(k.value for k in call.keywords)])
                case "otherwise":
                    pass
                case _:
                    reads += chains.names([*call.args, *(k.value for k in call.keywords)])
        self.calls.setdefault(links[0][1].lineno, facts.cell)
        writes = tuple(facts.outputs) or targets
        node = self._step_node(facts, kind, tuple(dict.fromkeys(reads)), writes, options)
        self._wire(node, reads, order)
        if self.waited and links[-1][0] == "" and not self.conditions:
            self._follow(self.waited, node)
        self.last = node
        if undo is not None:
            self._undo(node, *undo)
        return node

    def _step_node(
        self, facts: StepFacts, kind: NodeKind, reads: tuple[str, ...], writes: tuple[str, ...], options: dict[str, Any]
    ) -> str:
        before = self.nodes.get(facts.name)
        self.nodes[facts.name] = Node(
            facts.name,
            kind if before is None or before.kind == "step" else before.kind,
            cell=facts.cell,
            cell_number=facts.number,
            line=facts.line,
            reads=tuple(dict.fromkeys([*(before.reads if before else ()), *reads])),
            writes=tuple(dict.fromkeys([*(before.writes if before else ()), *writes])),
            options={**(before.options if before else {}), **options},
            doc=facts.doc,
        )
        return facts.name

    def _wait_call(self, what: str, call: ast.Call, targets: tuple[str, ...]) -> str:
        text = chains.first(call)
        fact = next((wait for wait in self.waits if (wait.what, wait.text) == (what, text)), None)
        name = text if what == "signal" and text.isidentifier() else what
        if fact is not None:
            self.waits.remove(fact)
            name = fact.step
        while name in self.nodes and (fact is not None or self.nodes[name].options.get("wait") != text):
            name += "_"
        self.calls.setdefault(call.lineno, fact.cell if fact else "")
        options = {"wait": text, **chains.constants(call)}
        writes = (text,) if fact is not None and what == "signal" else () if fact is not None else targets
        self.nodes[name] = Node(
            name,
            "wait",
            cell=fact.cell if fact else "",
            cell_number=fact.number if fact else 0,
            line=call.lineno,
            writes=writes,
            options=options,
        )
        after = next((k.value for k in call.keywords if k.arg == "after"), None)
        self._wire(name, [], chains.names([after]) if after is not None else [])
        if chains.chain(call)[1][-1][0] != "start" and not self.conditions:
            self._follow(self.waited or self.last, name)
            self.waited = name
        return name

    def _undo(self, node: str, facts: StepFacts, call: ast.Call, links: list[tuple[str, ast.Call]]) -> None:
        options = dict(facts.options)
        for method, link in links:
            if method == "until":
                options["loop"] = {"until": chains.lambda_text(link), **chains.constants(link)}
        self._step_node(facts, "undo", tuple(facts.parameters), tuple(facts.outputs), options)
        self._edge(node, facts.name, "undo", ())
        for name in chains.names([k.value for k in call.keywords]):
            for source in self.made_by.get(name, ()):
                self._edge(source, facts.name, "undo", (name,))

    # Edges

    def _follow(self, before: str, after: str) -> None:
        """In code that awaits one thing after the other, what stands behind a wait comes after it."""
        drawn = list(self.nodes)
        if not before or drawn.index(before) >= drawn.index(after):
            return
        if (before, after, "data") not in self.edges:
            self._edge(before, after, "order", ())

    def _wire(self, node: str, reads: list[str], order: list[str]) -> None:
        for name in reads:
            for source in self.made_by.get(name, ()):
                if source != node:
                    self._edge(source, node, "data", (name,))
        for name in [*order, *sorted({n for names in self.conditions for n in names})]:
            for source in self.made_by.get(name, ()):
                if source not in (node, "params") and (source, node, "data") not in self.edges:
                    self._edge(source, node, "order", ())

    def _edge(self, source: str, target: str, kind: EdgeKind, names: tuple[str, ...]) -> None:
        known = self.edges.setdefault((source, target, kind), [])
        known += [name for name in names if name not in known]
