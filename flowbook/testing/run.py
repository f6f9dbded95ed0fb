"""A run of a ``TestEngine``, as a test sees it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flowbook.client.asks import Ask
from flowbook.core.duration import spoken
from flowbook.core.events import Origin, Recorded, RunStarted
from flowbook.core.ids import RunId, Seq
from flowbook.core.messages import StartRun
from flowbook.core.value import Value
from flowbook.errors import (
    FlowbookError,
    RunCancelled,
    RunFailed,
    RunTerminated,
    UpdateFailed,
    UpdateRejected,
)
from flowbook.wire import calls, codec

if TYPE_CHECKING:
    from flowbook.testing.engine import TestEngine

R = TypeVar("R", covariant=True)
_numbers = itertools.count(1)


class TestRun(Generic[R]):
    """A run of a ``TestEngine``."""

    __test__ = False

    def __init__(self, env: TestEngine, id: str) -> None:
        self._env = env
        self.id = id

    async def result(self) -> R:
        """What the workflow returns; time passes until it does.

        Raises RunFailed and RunCancelled as ``run.result()`` does, and RunWaits where the run waits for something that
        nothing in the test will bring, for example a signal.
        """
        summary = self._ended()
        if summary["status"] == "paused":
            raise FlowbookError(f"run {self.id} is paused: {summary['reason']}")
        match summary["status"], summary["error"]:
            case "succeeded", _:
                value = summary["result"]
                found: Any = None if value is None else codec.decode(value, self._env._files.load)
                return found  # type: ignore[no-any-return]
            case "failed", failure:
                where = f" in step '{summary['step']}'" if summary["step"] else ""
                text = f": {failure.type}: {failure.message}" if failure is not None else ""
                raise RunFailed(f"run {self.id} failed{where}{text}", failure)
            case "terminated", _:
                raise RunTerminated(f"run {self.id} was terminated: {summary['reason']}")
            case status, _:
                raise RunCancelled(f"run {self.id} was {status}: {summary['reason']}")

    async def wait(self) -> str:
        """Let time pass until the run has ended or paused; its status then."""
        return self._ended()["status"]

    async def signal(self, name: str, value: Any = None, id: str = "") -> None:
        """Send a signal; it is recorded, and acted on, when this returns."""
        self._env._do(self._env._client.signal(self.id, name, self._env._encode(value, name), id))
        self._env._world_now.settle()

    async def cancel(self, reason: str = "") -> str:
        """Ask the run to stop: "cancelled", "queued" or "already done"."""
        outcome = self._env._do(self._env._client.cancel(self.id, reason))["outcome"]
        self._env._world_now.settle()
        return outcome

    async def terminate(self, reason: str = "", *, now: bool = False) -> str:
        """End the run without asking its code: "terminated", "queued" or "already done"."""
        ended: calls.Outcome = self._ask("terminate", calls.Terminate(RunId(self.id), reason, now))
        self._env._world_now.settle()
        return ended["outcome"]

    async def update(self, name: str, *args: Any, id: str | None = None, **kwargs: Any) -> Any:
        """Send an update and wait for what its handler gives. Raises UpdateRejected or UpdateFailed."""
        encode = self._env._encode
        update = calls.Update(
            RunId(self.id),
            id or f"update-{next(_numbers)}",
            name,
            tuple(encode(value, name) for value in args),
            {key: encode(value, key) for key, value in kwargs.items()},
        )
        answer: calls.UpdateResult = self._ask("update", update, calls.UpdateResult)
        error = answer["error"]
        if error is not None:
            kind = UpdateRejected if answer["status"] == "rejected" else UpdateFailed
            raise kind(f"update {name} was {answer['status']}: {error.type}: {error.message}", error)
        return None if answer["value"] is None else codec.decode(answer["value"], self._env._files.load)

    async def query(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """What the run's query handler answers now."""
        encode = self._env._encode
        asked = calls.Ask(
            RunId(self.id),
            name,
            tuple(encode(value, name) for value in args),
            {key: encode(value, key) for key, value in kwargs.items()},
        )
        return codec.decode(self._ask("query", asked, Value), self._env._files.load)

    async def fork(self, at: int | None = None, rerun: Sequence[str] = ()) -> TestRun[R]:
        """Start a new run that takes the results of this one, up to an event, without those of the steps to rerun."""
        first = self.history[0].event
        assert isinstance(first, RunStarted)
        origin = Origin(RunId(self.id), Seq(at or len(self.history)), tuple(rerun))
        message = StartRun(
            run=RunId(f"{self.id}-fork-{next(_numbers)}"),
            workflow=first.workflow,
            module=first.module,
            place=first.place,
            arguments=first.arguments,
            origin=origin,
            seed=first.seed or first.run,
        )
        summary: calls.Summary = self._ask("start", message, calls.Summary)
        self._env._world_now.settle()
        return TestRun(self._env, summary["id"])

    @property
    def status(self) -> str:
        """running, waiting, paused, succeeded, failed, cancelled or terminated."""
        return self._summary()["status"]

    @property
    def history(self) -> list[Recorded]:
        """All recorded events so far."""
        return self._env._do(self._env._client.history(self.id))

    def _ask(self, method: str, params: Any, answer: Any = Any) -> Any:
        return self._env._do(self._env._client._ask(Ask(method, params, answer)), self._waits)

    def _ended(self) -> calls.Summary:
        summary = self._summary()
        while summary["status"] in ("running", "waiting", "queued", "continued"):
            summary = self._env._do(self._env._client.wait(self.id), self._waits)
        return summary

    def _summary(self) -> calls.Summary:
        return self._env._do(self._env._client.run(self.id))

    def _waits(self) -> str:
        waits = self._summary()["waits"]
        said = [f"{wait['kind']} '{wait['name']}'" if wait["name"] else wait["kind"] for wait in waits]
        since = min((wait["since"] for wait in waits), default=0.0)
        after = spoken(self._env._world_now.loop.now - since) if waits else ""
        return (
            f"run {self.id} waits for {', '.join(said) or 'nothing that will ever come'}"
            f"{f', for {after}' if after and after != '0ms' else ''}, and nothing in this test will bring it: "
            "send the signal before you ask for the result"
        )

    def __repr__(self) -> str:
        return f"<test run {self.id}>"
