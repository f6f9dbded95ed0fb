"""Hand-written modules: workflows, parameters, digests, and a graph of what can be seen."""

from __future__ import annotations

from typing import Any

from flowbook.compiler import compile_module

ORDERS = '''
"""Orders."""
import asyncio
from flowbook import RetryPolicy, signal, sleep as nap, step as durable, workflow
import flowbook as fb

def helper(x):
    return x

@durable(retry=RetryPolicy(maximum_attempts=5, initial_interval=1, backoff_coefficient=1), timeout="30s")
def load(order_id: str) -> dict:
    """Load it."""
    return helper(order_id)

@durable
def reserve(order): ...

@fb.step(name="score")
async def score_it(order): ...

@durable(outputs=("sent", "bill"))
def ship(line, risk=1): ...

def _cancel(order): ...

cancel = durable(_cancel)

@workflow
async def checkout(order_id: str, limit: float = 100.0, *, fast=False):
    """Check out."""
    order = await load(order_id)
    stock, risk = await asyncio.gather(reserve(order), score_it(order))
    if order["total"] > limit:
        approved = await signal("approval", timeout="24h")
        if not approved:
            return await cancel(order)
    await nap("1h")
    shipped = await asyncio.gather(*[ship(line, risk) for line in stock["lines"]])
    bill = ship.undo(cancel).until(lambda sent: sent, every="1s", timeout="1m").start(shipped)
    return bill

async def _plain():
    return await load("1")

plain = workflow(_plain)
'''


def compiled(text: str) -> Any:
    result = compile_module(text, "orders")
    assert result.diagnostics == () and result.module is not None
    return result.module


def test_a_hand_written_module() -> None:
    module = compiled(ORDERS)
    assert [w.name for w in module.workflows] == ["checkout", "_plain"]
    checkout = module.workflows[0]
    assert checkout.doc == "Check out."
    assert checkout.parameters == (
        {"name": "order_id", "annotation": "str", "default": None},
        {"name": "limit", "annotation": "float", "default": "100.0"},
        {"name": "fast", "annotation": "", "default": "False"},
    )
    assert sorted(module.steps) == ["_cancel", "load", "reserve", "score", "ship"]
    assert module.spans == () and module.cells == ()


def test_its_graph() -> None:
    graph = compiled(ORDERS).workflows[0].graph
    kinds = {node.id: node.kind for node in graph.nodes}
    assert kinds == {
        "params": "params",
        "load": "step",
        "reserve": "step",
        "score": "step",
        "approval": "wait",
        "_cancel": "undo",
        "sleep": "wait",
        "ship": "map",
    }
    edges = {(e.source, e.target): (e.kind, e.names) for e in graph.edges}
    assert edges["params", "load"] == ("data", ("order_id",))
    assert edges["load", "reserve"] == edges["load", "score"] == ("data", ("order",))
    assert edges["load", "approval"] == ("order", ())
    assert edges["approval", "_cancel"] == ("order", ())
    assert edges["reserve", "ship"][1] == ("line",) and edges["score", "ship"][1] == ("risk",)
    load = graph.node("load")
    assert load is not None and load.options == {"retries": 4, "backoff": "1s", "timeout": "30s"}
    assert load.doc == "Load it." and ORDERS.splitlines()[load.line - 1] == "    return helper(order_id)"


def test_broken_modules_give_findings() -> None:
    for text, code in (
        ("x = 1", "FB014"),
        ("", "FB014"),
        ("x = (", "FB006"),
        ("x = '\x00'", "FB006"),
        ("def f():\n    await g()", "FB006"),
        ("(" * 500, "FB006"),
        ("from flowbook import workflow\n@workflow\ndef f(): ...", "FB014"),
        ("from elsewhere import workflow\n@workflow\nasync def f(): ...", "FB014"),
        ("from elsewhere import *\n@workflow\nasync def f(): ...", "FB014"),
        ("from flowbook import *\nfrom elsewhere import workflow\n@workflow\nasync def f(): ...", "FB014"),
    ):
        result = compile_module(text, "broken")
        assert result.module is None
        assert [d.code for d in result.diagnostics] == [code]
        assert result.diagnostics[0].fix and result.diagnostics[0].line >= 1


def test_a_star_brings_all_of_our_names() -> None:
    text = "@step\ndef load(): ...\n\n@workflow\nasync def flow():\n    await load()\n    await sleep('1h')\n"
    star, named = (
        compiled(f"from flowbook import {names}\n{text}").workflows[0].graph for names in ("*", "sleep, step, workflow")
    )
    assert star == named and [node.id for node in star.nodes] == ["load", "sleep"]


def test_a_used_decorator_or_attribute_counts_for_the_digest() -> None:
    def steps(line: str) -> dict[str, str]:
        text = f"""
from flowbook import step, workflow
import functools
table = {{}}
{line}
@functools.cache
def helper(): return table
@step
def a(): return helper()
@step
def b(): return 1
@workflow
async def w(): return await a()
"""
        return dict(compiled(text).steps)

    one, two = steps("table['x'] = 1"), steps("table['x'] = 2")
    assert one["a"] != two["a"] and one["b"] == two["b"]


def test_what_is_wrong_with_a_module_is_said() -> None:
    text = """
from flowbook import step, workflow

@step
def load(): ...

@step(name="load")
def load_again(): ...

@workflow
def late(): ...

@workflow
async def early():
    return await load()
"""
    found = compile_module(text, "orders")
    assert found.module is None
    assert [(d.code, d.line) for d in found.diagnostics] == [("FB014", 11), ("FB007", 8)]
    assert all(d.fix for d in found.diagnostics)


def test_what_is_collected_leads_on_and_nothing_leads_back() -> None:
    text = """
from flowbook import sleep, step, workflow

@step
def fetch(page): ...

@step
def merge(pages): ...

@workflow
async def crawl(pages: int = 3):
    found, by_page = [], {}
    for page in range(pages):
        found.append(await fetch(page))
        by_page[page] = await fetch(page)
    await sleep("1h")
    await fetch(0)
    return await merge(found), await merge(by_page)
"""
    (workflow,) = compiled(text).workflows
    edges = {(edge.source, edge.target, edge.kind) for edge in workflow.graph.edges}
    assert ("fetch", "merge", "data") in edges
    assert ("sleep", "fetch", "order") not in edges


UNSTEADY = """
import datetime as dt
import numpy as np
from datetime import date, datetime
from flowbook import step, workflow


def of_workflows():
    return date.today()


def of_both():
    return datetime.utcnow()


@step
def fine():
    of_both()
    return datetime.now(), np.random.rand()


@workflow
async def flow():
    await fine()
    of_workflows()
    of_both()
    again = dt.datetime.now()
    np.random.default_rng(4).random()
    np.random.default_rng()
    np.random.rand()
    now = datetime.combine(date(2025, 1, 1), dt.time())
    return again, now
"""


def test_what_differs_each_time_is_found_in_workflow_code_alone() -> None:
    result = compile_module(UNSTEADY, "unsteady")
    rows = UNSTEADY.splitlines()
    assert result.module is None
    assert sorted((d.severity, rows[d.line - 1][d.column - 1 : d.end_column - 1]) for d in result.diagnostics) == [
        ("error", "date.today()"),
        ("error", "dt.datetime.now()"),
        ("error", "np.random.default_rng()"),
        ("error", "np.random.rand()"),
        ("warning", "datetime.utcnow()"),
    ]
    assert all((d.code == "FB041" and "now()" in d.fix) or "seed" in d.fix for d in result.diagnostics)


def test_a_warning_does_not_keep_a_module_from_running() -> None:
    text = (
        UNSTEADY.replace("    of_workflows()\n", "")
        .replace("dt.datetime.now()", "1")
        .replace("np.random.rand()\n    now", "now")
    )
    result = compile_module(text.replace("    np.random.default_rng()\n", ""), "unsteady")
    assert result.module is not None and [d.severity for d in result.diagnostics] == ["warning"]
