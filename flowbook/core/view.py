"""A run for eyes: its history folded into a plain dict, which every display draws and none computes.

Only what is shown is kept; values are previews. The dict's shape is in ``docs/architecture.md``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from flowbook.core import events as e
from flowbook.core.affairs import Affairs
from flowbook.core.duration import seconds
from flowbook.core.extranodes import ExtraNodes
from flowbook.core.graph import Graph, Node
from flowbook.core.ids import Key
from flowbook.core.module import Module
from flowbook.core.outputview import OutputView
from flowbook.core.patch import difference, patched
from flowbook.core.stepview import StepView, error_view, value_view
from flowbook.core.token import token
from flowbook.errors import UserError

MOVES = 20
"""Moves to other code that are listed; the last ones."""

_OVER = ("done", "reused", "skipped")
_SETTLING = (e.StepCompleted, e.StepFailed, e.StepCancelled, e.StepReused, e.StepAttemptFailed)
_OF_STEPS = (
    *(e.StepStarted, e.StepScheduled, e.StepWaiting, e.StepOutput, e.StepProgress, e.StepHeartbeat, e.StepSkipped),
    *(e.MapStarted, e.ChildStarted, e.SignalSent, e.CancelSent, *_SETTLING),
)


def view(history: Iterable[e.Recorded], module: Module | None) -> dict[str, Any]:
    """The view after these events."""
    fold = RunView(module)
    for recorded in history:
        fold.apply(recorded)
    return fold.shown()


def view_at(history: Sequence[e.Recorded], module: Module | None, at: int) -> dict[str, Any]:
    """The view as of event ``at``."""
    return view([recorded for recorded in history if recorded.seq <= at], module)


class RunView:
    """A view under construction, one event at a time."""

    def __init__(self, module: Module | None) -> None:
        self._module = module
        self._nodes: dict[str, Node] = {}
        self._needs: dict[str, list[str]] = {}
        self._steps: dict[str, StepView] = {}
        self._waits: dict[Key, dict[str, Any]] = {}
        self._deadlines: dict[str, dict[str, Any]] = {}
        self._late: set[Key] = set()
        self._unread: dict[str, deque[e.SignalReceived]] = {}
        self._newest: dict[str, e.SignalReceived] = {}
        self._paths: dict[str, str] = {}
        self._timed_out = ""
        self._paused = False
        self._affairs = Affairs()
        self._output = OutputView()
        self._extra = ExtraNodes({})
        self._queued = False
        self._view: dict[str, Any] = {
            "id": "",
            "workflow": "",
            "name": "",
            "status": "running",
            "module": "",
            "source": "",
            "started": 0.0,
            "ended": None,
            "seq": 0,
            "time": 0.0,
            "origin": None,
            "result": None,
            "error": None,
            "reason": "",
            "stopping": None,
            "deadline": None,
            "parent": "",
            "previous": "",
            "next": "",
            "schedule": "",
            "queue": "",
            "attributes": {},
            "memo": {},
            "patches": [],
            "moves": [],
            "output": [],
            "steps": {},
            "waits": [],
            **self._affairs.shown(),
            "graph": None,
        }

    def apply(self, recorded: e.Recorded) -> None:
        """Take in one more event."""
        view, event = self._view, recorded.event
        view["seq"], view["time"] = recorded.seq, recorded.time
        self._queued = self._queued and not isinstance(event, e.RunBegan)
        match event:
            case e.RunStarted():
                self._start(event, recorded.time)
            case e.RunCompleted():
                view["result"] = value_view(event.value)
                self._end("succeeded", recorded.time)
            case e.RunFailed():
                self._fail(event, recorded.time)
            case e.RunCancelled() | e.RunTerminated():
                view["reason"] = event.reason
                self._end(e.STATUS[type(event).__name__], recorded.time)
            case e.RunContinued():
                view["next"] = event.run
                self._end("continued", recorded.time)
            case e.CancelRequested():
                self._stop(event.cause if event.cause == "timeout" else "cancel", event.reason, recorded.time)
            case e.TerminateRequested():
                self._stop("terminate", event.reason, recorded.time)
            case e.AttributesSet():
                merged = {**view["attributes"], **event.attributes}
                view["attributes"] = {name: value for name, value in merged.items() if value is not None}
            case e.PatchMarked():
                view["patches"] = [*view["patches"], event.id]
            case e.RunOutput():
                self._output.add(event.output)
            case e.RunMoved():
                move = {"module": event.module, "source": event.source, "since": recorded.time}
                view["moves"] = [*view["moves"], move][-MOVES:]
                view["module"], view["source"] = event.module, event.source or view["source"]
            case e.RunPaused():
                self._paused = True
                view["error"] = {"type": "Paused", "message": event.reason, "step": "", "cell": None, "line": 0}
            case e.RunResumed():
                self._paused, view["error"] = False, None
            case e.TimerStarted():
                self._timer(event, recorded.time)
            case e.TimerFired() | e.TimerCancelled():
                self._timer_over(event, recorded.time)
            case e.SignalAwaited():
                self._signal(event, recorded.time)
            case e.SignalDropped():
                self._signal_over(event, recorded.time)
            case e.SignalReceived():
                self._signalled(event, recorded.time)
            case _ if isinstance(event, _OF_STEPS):
                self._stepped(event, recorded.time)
            case _:
                pass
        self._affairs.apply(event, recorded.time)
        if view["ended"] is None:
            view["status"] = self._status()

    def glimpse(self, said: e.StepProgress | e.StepHeartbeat, time: float) -> None:
        """Take in what a step says between two events that record it."""
        step = self._steps.get(said.step)
        if step is not None:
            step.apply(said, time)

    def shown(self) -> dict[str, Any]:
        """The view as it is now; later events do not change what was given. Not to be changed by who gets it."""
        shown = dict(self._view)
        shown["steps"] = {name: step.shown() for name, step in self._steps.items()}
        shown["output"] = self._output.shown()
        shown["waits"] = [dict(wait) for wait in self._waits.values()]
        return shown | self._affairs.shown()

    def _step(self, name: str) -> StepView:
        if name not in self._steps:
            self._steps[name] = StepView(self._nodes.get(name))
        return self._steps[name]

    def _stepped(self, event: Any, time: float) -> None:
        self._paths[_path(event.key)] = event.step
        if event.step not in self._nodes and event.step not in self._steps and self._view["graph"] is not None:
            self._extra.add(event.step, "map" if isinstance(event, e.MapStarted) else "step")
            self._view["graph"] = self._extra.graph
        self._step(event.step).apply(event, time)
        if isinstance(event, e.StepWaiting):
            wait = {"kind": "outside", "name": event.step, "due": event.expires or None, "attempt": event.attempt}
            answer = token(self._view["id"], event.key, event.attempt)
            self._waits[event.key] = self._wait(event, time) | wait | {"item": event.item, "token": answer}
        elif isinstance(event, e.ChildStarted):
            self._waits[event.key] = self._wait(event, time) | {"kind": "child", "name": event.run}
        elif isinstance(event, _SETTLING):
            self._waits.pop(event.key, None)

    def _wait(self, event: Any, time: float) -> dict[str, Any]:
        return {"key": event.key, "kind": "", "name": "", "due": None, "since": time, "step": event.step}

    def _stop(self, how: str, reason: str, time: float) -> None:
        self._view["stopping"] = {"how": how, "reason": reason, "since": time}

    def _status(self) -> str:
        if self._paused:
            return "paused"
        if self._queued:
            return "queued"
        busy = any(step.busy for step in self._steps.values())
        return "waiting" if self._waits and not busy else "running"

    # The run

    def _start(self, event: e.RunStarted, time: float) -> None:
        self._queued = bool(event.queue)
        self._view |= {
            "id": event.run,
            "workflow": event.workflow,
            "name": event.name,
            "module": event.module,
            "source": event.source,
            "started": time,
            "origin": {"run": event.origin.run, "seq": event.origin.seq} if event.origin else None,
            "deadline": (event.since or time) + event.timeout if event.timeout else None,
            "parent": event.parent.run if event.parent else "",
            "previous": event.continued,
            "schedule": event.schedule,
            "queue": event.queue,
            "attributes": dict(event.attributes),
            "memo": {name: value_view(value) for name, value in event.memo.items()},
        }
        workflow = self._module.workflow(event.workflow) if self._module else None
        graph = workflow.graph if workflow else Graph()
        self._extra = ExtraNodes(msgspec.to_builtins(graph))
        self._view["graph"] = self._extra.graph
        self._nodes = {node.id: node for node in graph.nodes}
        for edge in graph.edges:
            if edge.kind != "undo":
                self._needs.setdefault(edge.target, []).append(edge.source)
        for node in graph.nodes:
            step = self._step(node.id)
            if node.kind == "params":
                given = {name: value_view(value) for name, value in event.arguments.items()}
                step.set("done", time, values=given)

    def _fail(self, event: e.RunFailed, time: float) -> None:
        error = {**error_view(event.failure), "step": event.step or self._blamed(event)}
        self._view["error"] = error
        blamed = self._steps.get(error["step"])
        if blamed is not None and not event.step and blamed.status != "failed":
            blamed.resumed(time)
            blamed.set("failed", time, error=error, retry_at=None)
        self._end("failed", time)

    def _blamed(self, event: e.RunFailed) -> str:
        """The step whose time was up, where the workflow itself raised that."""
        stopping = self._view["stopping"]
        if event.failure.type != "TimeoutError" or (stopping is not None and stopping["how"] == "timeout"):
            return ""
        for name in self._steps:
            if event.failure.message.startswith(f"step '{name}' "):
                return name
        return self._timed_out

    def _end(self, status: str, time: float) -> None:
        self._view["status"], self._view["ended"] = status, time
        self._waits.clear()
        self._affairs.close(time, goes_on=status == "continued")
        for step in self._steps.values():
            step.close(time)

    # Waiting

    def _timer(self, event: e.TimerStarted, time: float) -> None:
        path = _path(event.key)
        wait = {"key": event.key, "kind": "timer", "name": event.label, "due": event.due, "since": time, "step": ""}
        for other in self._waits.values():
            # A timer beside a signal in the same task is that signal's deadline, not a wait of its own.
            if other["kind"] == "signal" and other["due"] is None and _path(other["key"]) == path:
                other["due"] = event.due
                self._deadlines[event.key] = other
                if other["step"]:
                    self._step(other["step"]).set("waiting", time, retry_at=event.due)
                return
        name = self._paths.get(path) or self._sleeper(event, time)
        node = self._nodes.get(name)
        again = node is not None and (_repeats(node) or _is_at(node, event))
        if node is not None and (again or self._step(name).status not in _OVER):
            wait["step"] = name
            self._paths[path] = name
            self._step(name).waits(time, event.due)
        self._waits[event.key] = wait

    def _sleeper(self, event: e.TimerStarted, time: float) -> str:
        """The node whose pause this timer is: of its line, or the first that could start and waits for so long."""
        if event.label in self._nodes:
            return event.label
        for node in self._nodes.values():
            if _is_at(node, event):
                return node.id
        for node in self._nodes.values():
            pause = _pause(node)
            if pause is None or abs(event.due - time - pause) > max(2.0, pause / 50):
                continue
            ready = all(self._step(need).status in _OVER for need in self._needs.get(node.id, ()))
            if ready and self._step(node.id).status == "not reached":
                return node.id
        return ""

    def _timer_over(self, event: e.TimerFired | e.TimerCancelled, time: float) -> None:
        deadline = self._deadlines.pop(event.key, None)
        if deadline is not None and isinstance(event, e.TimerFired):
            self._late.add(deadline["key"])
        wait = self._waits.pop(event.key, None)
        if wait is None or not wait["step"]:
            return
        step, node = self._step(wait["step"]), self._nodes[wait["step"]]
        step.resumed(time)
        if isinstance(event, e.TimerCancelled):
            step.set("cancelled", time)
        elif node.kind == "wait":
            step.set("done", time)
        else:
            step.set("queued", time)

    def _signal(self, event: e.SignalAwaited, time: float) -> None:
        name = self._waiting_node(event.name)
        unread = self._unread.get(event.name)
        if unread:
            came = unread.popleft()
            if name:
                self._paths[_path(event.key)] = name
                self._answered(self._step(name), came, time)
            return
        self._waits[event.key] = {
            "key": event.key,
            "kind": "signal",
            "name": event.name,
            "due": None,
            "since": time,
            "step": name,
        }
        if name:
            self._paths[_path(event.key)] = name
            self._step(name).waits(time, None)
        for key, wait in list(self._waits.items()):
            if wait["kind"] == "timer" and wait["since"] == time and _path(key) == _path(event.key):
                self._waits[event.key]["due"] = wait["due"]
                self._deadlines[key] = self._waits[event.key]
                del self._waits[key]

    def _signal_over(self, event: e.SignalDropped, time: float) -> None:
        wait = self._waits.pop(event.key, None)
        if wait is None and event.name in self._newest:
            # It was given to one who was giving up: the next one has it.
            self._hand_over(self._newest[event.name], time)
        if wait is None or not wait["step"]:
            return
        step = self._step(wait["step"])
        step.resumed(time)
        if event.key in self._late:
            # Whether that fails the run or lets the step's code run, the next event tells; a bare wait has no code.
            self._timed_out = wait["step"]
            is_bare = step.node is not None and step.node.kind == "wait"
            reason = f"signal '{event.name}' did not come in time"
            step.set("cancelled" if is_bare else "queued", time, reason=reason)
        else:
            step.set("cancelled", time)

    def _signalled(self, event: e.SignalReceived, time: float) -> None:
        self._newest[event.name] = event
        self._hand_over(event, time)

    def _hand_over(self, event: e.SignalReceived, time: float) -> None:
        for key, wait in self._waits.items():
            if wait["kind"] == "signal" and wait["name"] == event.name:
                del self._waits[key]
                if wait["step"]:
                    self._answered(self._step(wait["step"]), event, time)
                return
        self._unread.setdefault(event.name, deque()).append(event)

    def _answered(self, step: StepView, event: e.SignalReceived, time: float) -> None:
        step.resumed(time)
        if step.node is not None and step.node.kind != "wait":
            # Its code runs next, with the signal's value.
            step.set("queued", time)
        else:
            names = step.node.writes if step.node is not None else ()
            step.set("done", time, values={name: value_view(event.value) for name in names[:1]})

    def _waiting_node(self, signal: str) -> str:
        found = ""
        for node in self._nodes.values():
            named = str(node.options.get("wait", "")).split()
            if named and named[-1] == signal:
                found = found or node.id
                if self._step(node.id).status == "not reached":
                    return node.id
        return found


def _path(key: str) -> str:
    """The task that a key belongs to."""
    return key.rpartition("/")[0]


def _repeats(node: Node) -> bool:
    return node.kind == "loop" or "until" in node.options or "loop" in node.options


def _is_at(node: Node, event: e.TimerStarted) -> bool:
    """True for a wait that is written where the timer was set."""
    return node.kind == "wait" and 0 < node.line == event.site


def _pause(node: Node) -> float | None:
    text = str(node.options.get("wait", ""))
    if not text[:1].isdigit():
        return None
    try:
        return seconds(text)
    except UserError:
        return None


__all__ = ["RunView", "difference", "patched", "view", "view_at"]
