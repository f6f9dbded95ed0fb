"""What stands under a decorator: a function that can be what it is to be made, or a mistake with what to write."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from flowbook.core import options
from flowbook.errors import UserError


def require_step(target: Any, name: Any, outputs: Any) -> None:
    """Raise UserError for what can be no step."""
    called = _named("@step", target, name)
    if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        raise UserError(
            f"step '{called}' has a yield, so it would give a generator, which cannot be kept: return a list of what "
            "it yields, or make what consumes it a part of the step"
        )
    if isinstance(outputs, str):
        raise UserError(f"the outputs of step '{called}' are names: write outputs=(\"{outputs}\",)")


def require_workflow(target: Any, name: Any) -> None:
    """Raise UserError for what can be no workflow."""
    called = _named("@workflow", target, name)
    if inspect.isasyncgenfunction(target):
        raise UserError(
            f"@workflow needs a function that returns, and '{called}' has a yield: return its result, and show what "
            "happens on the way with @query"
        )
    if not inspect.iscoroutinefunction(target):
        raise UserError(f"@workflow needs an async function; write 'async def {called}(...)'")


def _named(decorator: str, target: Any, name: Any) -> str:
    if not callable(target):
        raise UserError(
            f"{decorator} stands above a function; to give it another name, write {decorator}(name={target!r:.80})"
        )
    own = getattr(target, "__name__", "<lambda>")
    if isinstance(target, type):
        raise UserError(f"{decorator} stands above a function, and {own} is a class: write a function that makes one")
    if options.text(f"the name of {decorator}", name):
        return str(name)
    if own == "<lambda>":
        raise UserError(
            f'what {decorator} stands above has no name of its own: write a def, or {decorator}(name="...")'
        )
    return str(own)


def is_local(function: Callable[..., Any]) -> bool:
    """True for what is defined inside of a function, where nobody else finds it."""
    return "<locals>" in getattr(function, "__qualname__", "")


def local(workflow: str) -> str:
    """What there is to say about a workflow like that which is to be a run."""
    return (
        f"workflow '{workflow}' is defined inside of a function, where a worker does not find it: define it at the top "
        "of its module"
    )
