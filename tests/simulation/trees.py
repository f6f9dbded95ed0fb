"""Trees of actions: how they are drawn, how long they take where nothing goes wrong, and what they must give.

The oracle knows nothing of engines. ``fits`` says whether a result can be: strictly in a calm world, where every
duration is known; in a stormy one a time-out may come before what it limits, and nothing else may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Any

Node = dict[str, Any]
Span = tuple[float, float]

LEAVES = (
    "plain",
    "slow",
    "flaky",
    "failing",
    "sleep",
    "signal",
    "draw",
    "record",
    "map",
    "once",
    "operation",
    "message",
    "awakeable",
    "patched",
    "there",
    "stop",
    "leave",
)
TO_ITSELF = ("signal", "message")
"""What needs to know the run's own id, which a child and a run that goes on do not have."""
BRANCHES = (
    "timeout",
    "sequence",
    "gather",
    "group",
    "nursery",
    "first",
    "lock",
    "queue",
    "cancel",
    "shield",
    "saga",
    "child",
)
MANY = ("sequence", "gather", "group", "nursery", "first", "lock", "queue")
TIMES = (0.01, 1.0, 3.0, 30.0, 3600.0)
AWAKE = 5.0
"""Within so many seconds a promise is answered."""
CLEANING = 20.0
"""Seconds that a task cleans up for at most, which was left when its run's code had returned."""
SLACK = 2.0
"""Seconds by which things may be late in a calm world (a worker that has to be started)."""


@dataclass
class Plan:
    """One run: its tree, what is sent to it, and what is to be undone where it fails.

    It goes on as a new one ``rounds`` times. ``bumps`` are signals for a handler. ``kept`` is what becomes when it ends
    of a child that waits for ever, where it has one; ``limit`` is its time, 0 for all of it.
    """

    run: str
    tree: Node
    books: list[int]
    signals: list[tuple[str, list[int]]] = field(default_factory=list)
    cancel_at: float | None = None
    terminate_at: float | None = None
    start_at: float = 0.0
    rounds: int = 0
    updates: list[int] = field(default_factory=list)
    bumps: list[int] = field(default_factory=list)
    kept: str = ""
    limit: float = 0.0


@dataclass
class Facts:
    """What happened outside: the signals' values in order, and how often a node's work was taken back.

    ``late`` are the seconds for which somebody who loses nothing by it did not listen: whatever is due may be so late.
    """

    sent: dict[str, list[int]]
    undone: Callable[[int], int] = lambda n: 0
    late: float = 0.0


class Drawer:
    """Draws the plan of one run."""

    def __init__(self, random: Random, run: str) -> None:
        self.random = random
        self.run = run
        self.count = 0
        self.signals: list[tuple[str, list[int]]] = []
        self.alone = False

    def plan(self) -> Plan:
        random = self.random
        self.budget = random.choice((1, 2, 4, 10))
        rounds = random.choice((0, 0, 0, 0, 1, 3, 8))
        self.alone = bool(rounds)
        tree = self.node(random.randint(0, 3))
        if random.random() < 0.2:
            tree = {"do": "sequence", "n": self.number(), "of": [tree, {"do": "raise", "n": self.number()}]}
        books = [self.number() for _ in range(random.choice((0, 0, 0, 1, 2)))]
        cancel_at = random.choice((0.0, 0.3, 2.0, 20.0, 100.0, random.random())) if random.random() < 0.2 else None
        return Plan(
            self.run,
            tree,
            books,
            self.signals,
            cancel_at,
            random.choice((0.0, 0.3, 2.0, 40.0)) if random.random() < 0.08 else None,
            random.choice((0.0, 0.0, 0.5, 5.0)),
            rounds,
            [random.randint(1, 99) for _ in range(random.choice((0, 0, 0, 1, 3)))],
            list(range(1, 1 + random.choice((0, 0, 1, 2, 5)))),
            random.choice(("", "", "", "cancel", "terminate")),
            random.choice((3.0, 60.0, 1000.0)) if random.random() < 0.1 else 0.0,
        )

    def number(self) -> int:
        self.count += 1
        return self.count

    def node(self, depth: int) -> Node:
        random = self.random
        self.budget -= 1
        leaves = [leaf for leaf in LEAVES if not self.alone or leaf not in TO_ITSELF]
        do = random.choice(BRANCHES if depth and self.budget > 0 else leaves)
        node: Node = {"do": do, "n": self.number()}
        match do:
            case "slow":
                node["d"] = random.choice((0.01, 1.0, 1.0, 20.0))
            case "flaky":
                node["failures"] = random.choice((0, 1, 2))
            case "sleep":
                node["d"] = random.choice(TIMES)
            case "leave":
                node["d"] = random.choice((0.0, 0.5, CLEANING))
            case "there":
                node["d"] = random.choice((0.0, 0.01, 1.0, 20.0))
            case "signal":
                self._signal(node)
            case "map":
                node |= {"items": random.randint(0, 4), "concurrency": random.choice((None, 1, 2))}
            case "timeout":
                node |= {"d": random.choice(TIMES), "how": random.choice(("timeout", "wait_for", "anyio", "fail"))}
            case "group" | "nursery":
                node |= {"boom": random.random() < 0.3, "d": random.choice((0.01, 2.0))}
            case "saga":
                node["boom"] = random.random() < 0.4
            case "cancel":
                node["d"] = random.choice((0.0, 0.0, 1.0, 30.0))
        if do in BRANCHES:
            before, self.alone = self.alone, self.alone or do == "child"
            node["of"] = [self.node(depth - 1) for _ in range(random.randint(1, 3) if do in MANY else 1)]
            self.alone = before
        return node

    def _signal(self, node: Node) -> None:
        name, count = f"s{node['n']}", self.random.randint(1, 3)
        node |= {"name": name, "count": count, "d": self.random.choice((None, None, 1.0, 600.0))}
        self.signals.append((name, [node["n"] * 100 + index for index in range(count)]))


def span(node: Node) -> Span:
    """How long it takes in a calm world, in seconds: at least, at most."""
    inner = [span(one) for one in node.get("of", ())]
    match node["do"]:
        case "plain" | "draw" | "record" | "map" | "failing" | "patched" | "message" | "stop" | "leave":
            return 0.0, 0.0
        case "once":
            return 0.2, 0.2
        case "operation":
            return 2.0, 2.0
        case "awakeable":
            return 0.0, AWAKE
        case "saga":
            return inner[0][0] + 0.5, inner[0][1] + 0.5
        case "slow":
            # Two attempts, each with a time-out of 5 s, and 1 s between them.
            return (node["d"], node["d"]) if node["d"] < 5 else (11.0, 11.0)
        case "flaky":
            taken = (0.0, 1.0, 3.0)[node["failures"]]
            return taken, taken
        case "sleep" | "there":
            return node["d"], node["d"]
        case "signal":
            return 0.0, inf if node["d"] is None else node["d"] * node["count"]
        case "timeout":
            return min(inner[0][0], node["d"]), min(inner[0][1], node["d"])
        case "sequence" | "lock":
            return sum(low for low, _ in inner), sum(high for _, high in inner)
        case "group" | "nursery" if node["boom"]:
            low = max(low for low, _ in inner)
            return min(low, node["d"]), node["d"]
        case "gather" | "group" | "nursery" | "queue":
            return max(low for low, _ in inner), max(high for _, high in inner)
        case "first":
            return min(low for low, _ in inner), min(high for _, high in inner)
        case "cancel":
            return node["d"], node["d"]
        case "child":
            return inner[0][0], inner[0][1] + max((one["d"] for one in _all(node) if one["do"] == "leave"), default=0.0)
        case "shield":
            return inner[0]
        case "raise":
            return 0.0, 0.0
    raise AssertionError(node)


def fails(node: Node) -> bool:
    """True where the tree ends the run with an error."""
    return node["do"] == "sequence" and node["of"][-1]["do"] == "raise"


def mistakes_its_limit(node: Node) -> bool:
    """True where a time limit may be taken for a cancellation from outside, by no fault of ours.

    Before Python 3.13 a group that was left because of an error goes on counting as a cancellation of its task; and a
    ``gather`` of tasks that are cancelled already raises what anyio's scope does not know for its own.
    """
    confusing = (inner for inner in _all(node) if inner["do"] == "first" or inner.get("boom"))
    limited = node["do"] == "timeout" and any(confusing)
    return limited or any(map(mistakes_its_limit, node.get("of", ())))


def leaves_something(node: Node) -> bool:
    """True where a task that owes something may outlive whoever waited for it, as asyncio's tasks do."""
    return any(inner["do"] in ("saga", "operation") for inner in _all(node))


def _all(node: Node) -> Iterator[Node]:
    yield node
    for inner in node.get("of", ()):
        yield from _all(inner)


def fits(node: Node, result: Any, calm: bool, facts: Facts) -> bool:
    """True when ``result`` can be what the tree gives; ``facts`` is what happened outside."""
    kind = result[0] if isinstance(result, list) and result else None
    inner = node.get("of", [])
    slack = SLACK + facts.late
    match node["do"]:
        case "plain" | "record" | "there":
            return result == ["ok", node["n"]]
        case "slow":
            return result == (["ok", node["n"]] if node["d"] < 5 else ["failed", "TimeoutError"])
        case "flaky":
            return result == ["ok", node["n"]]
        case "failing":
            return result == ["failed", "ValueError"]
        case "sleep":
            return result == ["slept"]
        case "map":
            return result == ["mapped", [index * 10 for index in range(node["items"])]]
        case "draw":
            return kind == "drawn" and 0 <= result[1] < 1 and len(result[2]) == 36
        case "signal":
            return kind == "got" and _signals_fit(node, result[1], facts.sent[node["name"]])
        case "timeout":
            if result == ["timeout"] and (not calm or span(inner[0])[1] + slack >= node["d"]):
                return True
            return fits(inner[0], result, calm, facts) and not (calm and span(inner[0])[0] > node["d"] + slack)
        case "group" | "nursery" if node["boom"]:
            # Even where all is done before the bomb goes off: the group waits for it, and it does.
            return result == ["boom"]
        case "sequence" | "gather" | "group" | "nursery" | "lock" | "queue":
            return kind == "all" and _each_fits(inner, result[1], calm, facts)
        case "first":
            done = result[1] if kind == "first" else []
            return any(one is not None for one in done) and all(
                one is None or fits(node, one, calm, facts) for node, one in zip(inner, done, strict=True)
            )
        case "cancel":
            if result == ["cancelled"] and (not calm or span(inner[0])[1] + slack >= node["d"]):
                return True
            return fits(inner[0], result, calm, facts) and not (calm and span(inner[0])[0] > node["d"] + slack)
        case "once":
            return result == ["ok", node["n"]] or (result == ["failed", "Interrupted"] and not calm)
        case "operation":
            return result == ["ok", node["n"]] and not facts.undone(node["n"])
        case "saga" if node["boom"]:
            return result == ["undone"] and facts.undone(node["n"]) > 0
        case "saga":
            return kind == "saga" and not facts.undone(node["n"]) and fits(inner[0], result[1], calm, facts)
        case "child":
            return kind == "child" and fits(inner[0], result[1], calm, facts)
        case "message":
            return result == ["told", node["n"]]
        case "stop":
            return result == ["stopped", "RunCancelled"]
        case "awakeable":
            return result == ["answered", node["n"]]
        case "patched":
            return result == ["new"]
        case "leave":
            return result == ["left", False]
        case "shield":
            return fits(inner[0], result, calm, facts)
    return False


def _each_fits(nodes: list[Node], results: Any, calm: bool, facts: Facts) -> bool:
    return len(nodes) == len(results) and all(
        fits(node, result, calm, facts) for node, result in zip(nodes, results, strict=True)
    )


def _signals_fit(node: Node, got: list[Any], sent: list[int]) -> bool:
    """Values in the order they were sent, each once; None where the wait for one was over first."""
    values = [value for value in got if value is not None]
    if node["d"] is None and len(values) < len(got):
        return False
    return len(got) == node["count"] and values == sent[: len(values)]
