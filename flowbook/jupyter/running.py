"""Start and fork runs for the Jupyter server: the front doors' road, awaited."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbook.api.arguments import checked, from_texts
from flowbook.api.connection import new_id
from flowbook.api.source import load
from flowbook.client import AsyncClient
from flowbook.core import events as e
from flowbook.core.forkplan import ForkPlan, plan
from flowbook.core.module import Module
from flowbook.core.value import Value
from flowbook.errors import UserError
from flowbook.jupyter.compiling import runnable
from flowbook.jupyter.projects import Project
from flowbook.store.values import ValueFiles
from flowbook.wire import codec

if TYPE_CHECKING:
    from flowbook.wire.calls import Summary


async def start(project: Project, body: Mapping[str, Any]) -> Summary:
    """Compile the live content and start it; when this returns, the run is on disk.

    ``arguments`` are JSON values; ``texts`` are arguments as typed into a form, read as the command line reads them.
    """
    file = project.notebook
    module, workflow = await asyncio.to_thread(runnable, body.get("content"), file)
    given = _mapping(body, "arguments")
    arguments = from_texts(module, workflow, _texts(body)) if body.get("texts") else checked(workflow, given)
    encoded = await asyncio.to_thread(_encoded, project.home, arguments)
    client = await project.client()
    await client.put_module(module)
    return await client.start(
        str(body.get("id") or new_id(workflow.name)),
        workflow.name,
        module.digest,
        e.Place(str(file.parent), sys.executable),
        encoded,
        name=str(body.get("name") or ""),
        source=module.origin,
    )


async def planned(project: Project, run: str, body: Mapping[str, Any]) -> tuple[ForkPlan, Module, e.RunStarted]:
    """What a fork of ``run`` would reuse and what it would run. Starts nothing."""
    client = await project.client()
    history = await client.history(run)
    started = history[0].event
    if not isinstance(started, e.RunStarted):
        raise UserError(f"the history of {run} does not begin with its start, so it cannot be forked")
    parent = await client.module(started.module)
    new = await asyncio.to_thread(_code, project, body.get("content"), parent)
    at, step = body.get("at"), body.get("step")
    if at is not None and type(at) is not int:
        raise UserError(f"'at' must be the number of an event, not {at!r}")
    made = plan(history, parent, new, at=at, step=str(step) if step else None)
    return made, new, started


async def fork(project: Project, run: str, body: Mapping[str, Any]) -> Summary:
    """Start the new run that ``planned`` describes."""
    made, module, started = await planned(project, run, body)
    workflow = module.workflow(started.workflow) or module.workflows[0]
    known = {str(parameter["name"]) for parameter in workflow.parameters}
    client: AsyncClient = await project.client()
    await client.put_module(module)
    return await client.start(
        str(body.get("id") or new_id(workflow.name)),
        workflow.name,
        module.digest,
        started.place,
        {name: value for name, value in started.arguments.items() if name in known},
        name=started.name,
        source=module.origin,
        origin=e.Origin(started.run, made.seq, made.rerun),
        seed=started.seed,
    )


def value_of(project: Project, name: str, given: Any) -> Value:
    """A JSON value as it travels."""
    return codec.encode(given, ValueFiles(project.home).save, name)


def _encoded(home: Path, arguments: Mapping[str, Any]) -> dict[str, Value]:
    files = ValueFiles(home)
    return {name: codec.encode(value, files.save, name) for name, value in arguments.items()}


def _code(project: Project, content: Any, parent: Module) -> Module:
    """What to fork with: what stands in the editor, else the run's file as it is now, else what it ran."""
    if content is not None:
        return runnable(content, project.notebook)[0]
    if parent.origin and Path(parent.origin).is_file():
        return load(parent.origin)[0]
    return parent


def _mapping(body: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = body.get(key) or {}
    if not isinstance(found, dict):
        raise UserError(f"'{key}' must be an object of names and values")
    return found


def _texts(body: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(text) for name, text in _mapping(body, "texts").items()}
