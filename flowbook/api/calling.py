"""How a workflow is started, as type checkers see it; and with options that cannot be taken for its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, overload

from flowbook.runtime.children import ChildHandle

if TYPE_CHECKING:
    from flowbook.api.decorator import Workflow
    from flowbook.api.started import Run
    from flowbook.core.queues import Queue

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
Given = TypeVar("Given", covariant=True)


class Start(Protocol[P, Given]):
    """Takes the workflow's own arguments, and options among the keywords.

    A signature cannot have both: arguments are checked where there are no options, and with ``options(...)``.
    """

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Given: ...
    @overload
    def __call__(self, *args: Any, id: str | None, **more: Any) -> Given: ...
    @overload
    def __call__(self, *args: Any, name: str, **more: Any) -> Given: ...
    @overload
    def __call__(self, *args: Any, timeout: float | str | None, **more: Any) -> Given: ...
    @overload
    def __call__(self, *args: Any, on_conflict: str, **more: Any) -> Given: ...
    @overload
    def __call__(self, *args: Any, on_closed: str, **more: Any) -> Given: ...
    @overload
    def __call__(self, *args: Any, signal: tuple[str, Any] | None, **more: Any) -> Given: ...
    @overload
    def __call__(self, *args: Any, attributes: dict[str, Any], **more: Any) -> Given: ...
    @overload
    def __call__(self, *args: Any, memo: dict[str, Any], **more: Any) -> Given: ...
    @overload
    def __call__(self, *args: Any, queue: Queue | str | None, **more: Any) -> Given: ...
    @overload
    def __call__(self, *args: Any, parent_close: str, **more: Any) -> Given: ...
    @overload
    def __call__(self, *args: Any, on_cancel: str, **more: Any) -> Given: ...


class Prepared(Generic[P, R]):
    """A workflow with the options of its start; what is given to ``start`` are its arguments, whatever their names."""

    def __init__(self, workflow: Workflow[P, R], options: dict[str, Any]) -> None:
        self._workflow = workflow
        self._options = options

    def start(self, *args: P.args, **kwargs: P.kwargs) -> Run[R]:
        """See ``Workflow.start``."""
        run: Run[R] = self._workflow.started(args, kwargs, self._options)
        return run

    def start_child(self, *args: P.args, **kwargs: P.kwargs) -> ChildHandle[R]:
        """See ``Workflow.start_child``."""
        return self._workflow.child(args, kwargs, self._options)

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """See ``Workflow.run``."""
        result: R = self._workflow.outcome(args, kwargs, self._options)
        return result

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._options.items())
        return f"<workflow {self._workflow.name} with {given or 'no options'}>"
