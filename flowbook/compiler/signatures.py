"""What decorators and signatures of a module say: retries, time-outs, parameters. From the syntax tree."""

from __future__ import annotations

import ast
from typing import Any

from flowbook.core.duration import spoken


def keywords(decorator: ast.expr | None) -> dict[str, ast.expr]:
    """What a decorator was given by name."""
    if not isinstance(decorator, ast.Call):
        return {}
    return {keyword.arg: keyword.value for keyword in decorator.keywords if keyword.arg}


def step_options(decorator: ast.expr | None) -> dict[str, Any]:
    """Retries and time-out of a step, as the annotations would say them."""
    given = keywords(decorator)
    options: dict[str, Any] = {}
    retry = given.get("retry")
    if isinstance(retry, ast.Constant) and isinstance(retry.value, int):
        options["retries"] = retry.value - 1
    attempts = keywords(retry).get("maximum_attempts")
    if isinstance(attempts, ast.Constant) and isinstance(attempts.value, int):
        options["retries"] = attempts.value - 1
    backoff = _backoff(keywords(retry))
    if backoff:
        options["backoff"] = backoff
    limit = given.get("timeout")
    if isinstance(limit, ast.Constant):
        options["timeout"] = str(limit.value)
    return options


def _backoff(given: dict[str, ast.expr]) -> str:
    """``1s..30s x2`` of a RetryPolicy that says more than how many attempts."""
    keys = ("initial_interval", "maximum_interval", "backoff_coefficient")
    first, longest, factor = (
        value.value if isinstance(value, ast.Constant) and isinstance(value.value, (int, float)) else None
        for value in (given.get(key) for key in keys)
    )
    if first is None:
        return ""
    text = spoken(first) if longest is None else f"{spoken(first)}..{spoken(longest)}"
    return text if factor in (None, 1) else f"{text} x{factor:g}"


def parameters(node: ast.AsyncFunctionDef) -> list[dict[str, object]]:
    """``{name, annotation, default}``: the latter two as source text, ``default`` None where one must be given."""
    arguments = [*node.args.posonlyargs, *node.args.args]
    defaults: list[ast.expr | None] = [None] * (len(arguments) - len(node.args.defaults))
    pairs = [*zip(arguments, [*defaults, *node.args.defaults], strict=True)]
    pairs += [*zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
    return [
        {
            "name": argument.arg,
            "annotation": ast.unparse(argument.annotation) if argument.annotation is not None else "",
            "default": ast.unparse(default) if default is not None else None,
        }
        for argument, default in pairs
    ]
